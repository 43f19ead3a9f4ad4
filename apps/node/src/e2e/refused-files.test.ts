import { spawnSync } from "node:child_process";
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorCodes } from "@blixard/common";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

const onLinux = process.platform === "linux" ? describe : describe.skip;
const nobody = 65_534;
/** What the system, Node.js, OpenSSL or a library says, and no person wants to read. */
const rawText = /E[A-Z]{4,}:|errno|\berror:[0-9A-F]{8}|ZodError|in JSON at|node:internal|\n\s+at /;

onLinux("files that a person names", () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-named-"));
    await writeFile(join(root, "garbage"), "{");
    await mkdir(join(root, "directory"));
    spawnSync("mkfifo", [join(root, "pipe")]);
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  it.each([
    ["/dev/zero", /larger than 1048576 bytes/],
    ["/proc/x", /does not exist/],
    ["/proc/self/mem", /cannot be read/],
    ["pipe", /nobody writes into/],
    ["directory", /is a directory/],
    ["garbage", /is not YAML: .* line 1, column 2 {2}\[/],
  ])("as --config %s end a start with what is wrong, and neither spin nor hang", async (name, words) => {
    const dataDir = join(root, "config");
    const file = name.startsWith("/") ? name : join(root, name);
    const refused = await runBinary(["node", "--id", "1", "--data-dir", dataDir, "--config", file]);
    expect(refused).toMatchObject({ code: 64, stdout: "", stderr: expect.stringMatching(words) });
    expect(refused.stderr).toContain("hint:");
    expect(refused.stderr).not.toMatch(rawText);
  });

  it.each(["--tls-cert", "--join-file", "--token-file"])("as %s too, and say so in words", async (flag) => {
    const start = ["node", "--id", "1", "--bind", "127.0.0.1:0", "--http", "off", "--data-dir", join(root, "others")];
    const tls = ["--tls-key", join(root, "garbage"), "--tls-ca", join(root, "garbage")];
    const command = flag === "--token-file" ? ["status", "--address", "127.0.0.1:1"] : start;
    for (const file of ["/dev/zero", join(root, "directory")]) {
      const refused = await runBinary([...command, flag, file, ...(flag === "--tls-cert" ? tls : [])]);
      expect([file, refused]).toMatchObject([file, { code: 64, stderr: expect.stringContaining("hint:") }]);
      expect(refused.stderr).not.toMatch(rawText);
    }
  });

  it("cannot be read with too few open files, and the program says that and nothing else", () => {
    // What Node.js itself needs differs by its version: the highest limit at which the program cannot be loaded is looked for.
    const runAt = (limit: number) => {
      const run = `ulimit -n ${limit} && exec "$0" "$@"`;
      return spawnSync("sh", ["-c", run, process.execPath, builtBinary(), "version"], { encoding: "utf8" });
    };
    let limit = 64;
    let refused = runAt(limit);
    while (refused.status === 0 && limit > 8) {
      limit -= 2;
      refused = runAt(limit);
    }
    expect(refused.status).toBe(errorCodes.OVERLOADED.exitCode);
    expect(refused.stderr).toMatch(/^error: .*too many files open.*\[OVERLOADED\]\nhint: .*ulimit -n.*\n$/);
  });
});

onLinux("files of a running node that somebody else may have written", () => {
  let root: string;
  let node: ProcessNode;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-planted-"));
    // The directory itself may be a link.
    await mkdir(join(root, "real"), { mode: 0o700 });
    await symlink(join(root, "real"), join(root, "link"));
    const flags = ["--vm-driver", "fake"];
    node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir: join(root, "link"), flags });
  });
  afterAll(async () => {
    await node?.stop();
    await rm(root, { recursive: true, force: true });
  });

  it.each(["runtime.json", "admin.token", "local.token"])("are not believed by a command: %s", async (name) => {
    const path = join(node.dataDir, name);
    const status = () => runBinary(["status", "--data-dir", node.dataDir]);
    const refusal = (words: string) => ({ code: 64, stdout: "", stderr: expect.stringContaining(words) });
    expect((await status()).code).toBe(0);
    await chmod(path, 0o644);
    expect(await status()).toMatchObject(refusal(`chmod 600 ${path}`));
    await chmod(path, 0o600);
    if (process.geteuid?.() === 0) {
      await chown(path, nobody, nobody);
      expect(await status()).toMatchObject(refusal(`belongs to user ${nobody}`));
      await chown(path, 0, 0);
    }
    await copyFile(path, join(root, name));
    await rm(path);
    await symlink(join(root, name), path);
    expect(await status()).toMatchObject(refusal(`${name} is a link`));
    await rm(path);
    await copyFile(join(root, name), path);
    await chmod(path, 0o600);
    expect((await status()).code).toBe(0);
  });
});
