/** Another commit of this repository, built in a worktree of its own that goes away with us. */
import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanAtEnd } from "../proc/endings.ts";
import { type LockFile, locksAgree } from "./lock-file.ts";

export interface BuiltCommit {
  /** `apps/node/dist/main.js` of that commit. */
  readonly binary: string;
  readonly shortHash: string;
  remove(): void;
}

const groups = ["packages", "apps", "tools"];

/**
 * @param root the repository; its `node_modules` serve the other commit where both lock files name the same versions
 * @throws when the revision does not exist, or does not build
 */
export async function buildCommit(root: string, revision: string, say: (text: string) => void): Promise<BuiltCommit> {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  const hash = git("rev-parse", "--verify", "--end-of-options", `${revision}^{commit}`);
  const shortHash = git("rev-parse", "--short", hash);
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "blixard-compare-")));
  const remove = cleanAtEnd(() => {
    rmSync(folder, { recursive: true, force: true });
    // Git forgets worktrees whose folder is gone, and only those.
    git("worktree", "prune");
  });
  try {
    git("worktree", "add", "--detach", "--force", folder, hash);
    await install(root, folder, say);
    say(`building ${shortHash}`);
    await run(process.execPath, [join(folder, "node_modules/typescript/bin/tsc"), "-b", "apps/node"], folder);
    const binary = join(folder, "apps/node/dist/main.js");
    if (!existsSync(binary)) throw new Error(`${shortHash} builds no apps/node/dist/main.js`);
    return { binary, shortHash, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

async function install(root: string, folder: string, say: (text: string) => void): Promise<void> {
  const lock = (of: string) => JSON.parse(readFileSync(join(of, "package-lock.json"), "utf8")) as LockFile;
  if (locksAgree(lock(folder), lock(root))) return linkModules(root, folder);
  say("its lock file names other versions: npm install");
  await run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], folder);
}

/** Libraries come from the repository; packages of ours from the worktree, or the other commit would run this one's code. */
function linkModules(root: string, folder: string): void {
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "@blixard"), { recursive: true });
  for (const name of readdirSync(join(root, "node_modules"))) {
    if (name !== "@blixard" && (name === ".bin" || !name.startsWith("."))) {
      symlinkSync(join(root, "node_modules", name), join(modules, name));
    }
  }
  for (const group of groups.filter((one) => existsSync(join(folder, one)))) {
    for (const room of readdirSync(join(folder, group))) {
      const manifest = join(folder, group, room, "package.json");
      if (!existsSync(manifest)) continue;
      const { name } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly name: string };
      if (name.startsWith("@blixard/")) symlinkSync(join(folder, group, room), join(modules, name));
    }
  }
}

function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += String(data)));
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ${args.join(" ")} ended with ${signal ?? code}:\n${output.slice(-4_000)}`));
    });
  });
}
