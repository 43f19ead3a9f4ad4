// Packs every package that may be published, as `npm publish` would, and unpacks the tarballs into one node_modules, as an
// installation would. What others depend on is linked from this checkout: nothing is fetched.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
export const run = promisify(execFile);

export const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));

/** Every file below `folder`, relative to it. */
export function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

/** The packages of this repository that are not private: `{ folder, manifest }`. */
export function publishedPackages() {
  return ["packages", "apps", "tools"]
    .flatMap((group) => readdirSync(join(root, group)).map((name) => `${group}/${name}`))
    .filter((folder) => existsSync(join(root, folder, "package.json")))
    .map((folder) => ({ folder, manifest: readJson(join(root, folder, "package.json")) }))
    .filter(({ manifest }) => manifest.private !== true);
}

/** Removes what a build left in `dist` and no source makes any more: the compiler does not, and it would be published. */
function removeStaleOutput(folder) {
  const dist = join(root, folder, "dist");
  const sources = readdirSync(join(root, folder)).filter((name) => !["dist", "node_modules"].includes(name));
  for (const file of filesBelow(dist)) {
    const source = file.replace(/\.(js|d\.ts)(\.map)?$/, ".ts");
    const stale = source !== file && !sources.some((name) => existsSync(join(root, folder, name, source)));
    // What is bundled has no source of its own, and each build makes it anew.
    if (stale && !file.startsWith("bundle/")) rmSync(join(dist, file));
  }
}

/** Packs into `target` and gives `{ folder, manifest, tarball, installed }` of each; `manifest` is the packed one. */
export async function packAll(target) {
  const packages = publishedPackages();
  for (const { folder } of packages) removeStaleOutput(folder);
  const tarballs = join(target, "tarballs");
  mkdirSync(tarballs, { recursive: true });
  const workspaces = packages.flatMap(({ folder }) => ["--workspace", folder]);
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", tarballs, ...workspaces], {
    cwd: root,
    maxBuffer: 1 << 26,
  });
  // npm 10 prints a list, npm 11 and later an object with the same values.
  const packed = Object.values(JSON.parse(stdout));
  return await Promise.all(
    packages.map(async ({ folder, manifest: { name } }) => {
      const { filename } = packed.find((one) => one.name === name);
      const tarball = join(tarballs, filename.replace("@", "").replace("/", "-"));
      const installed = join(target, "node_modules", name);
      mkdirSync(installed, { recursive: true });
      await run("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);
      return { folder, tarball, installed, manifest: readJson(join(installed, "package.json")) };
    }),
  );
}

/** Links the dependencies of the unpacked packages, and what a program in TypeScript needs, into their node_modules. */
export function linkDependencies(target, packed) {
  const inner = new Set(packed.map(({ manifest }) => manifest.name));
  const link = (from, to) => {
    if (existsSync(to)) return;
    mkdirSync(dirname(to), { recursive: true });
    symlinkSync(from, to);
  };
  for (const { folder, installed, manifest } of packed) {
    const { dependencies = {}, peerDependencies = {} } = manifest;
    for (const name of Object.keys({ ...dependencies, ...peerDependencies })) {
      if (inner.has(name)) continue;
      // npm installs a package at the root, and beside its user where the root has another version.
      const own = join(root, folder, "node_modules", name);
      if (existsSync(own)) link(own, join(installed, "node_modules", name));
      else link(join(root, "node_modules", name), join(target, "node_modules", name));
    }
  }
  link(join(root, "node_modules/@types/node"), join(target, "node_modules/@types/node"));
}
