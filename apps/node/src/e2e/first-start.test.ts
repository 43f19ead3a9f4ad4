import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

const run = promisify(execFile);
const flags = ["--vm-driver", "fake", "--no-relay", "--no-discovery"];
const free = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"];
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-first-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const start = (id: number, dataDir: string, join_?: string) =>
  ProcessNode.start({ binary: builtBinary(), id, dataDir, flags, ...(join_ === undefined ? {} : { join: join_ }) });
const startWrongly = (dataDir: string, ...args: string[]) =>
  runBinary(["node", "--id", "1", "--data-dir", dataDir, ...flags, ...args]);

/** What a first start leaves that ended after it had begun a cluster and before anybody was served. */
async function forgetCluster(dataDir: string): Promise<void> {
  for (const name of ["node.json", "join.json", "runtime.json"]) await rm(join(dataDir, name), { force: true });
}

describe("a first start that failed", () => {
  it("for wrong arguments made nothing, and the right ones then work", async () => {
    const dataDir = join(root, "arguments");
    const bad = join(root, "bad.pem");
    await writeFile(bad, "nothing");
    const attempts: [string[], number][] = [
      [["--join", "blx1-nonsense"], 77],
      [["--join", "nowhere"], 64],
      [["--join-file", join(root, "missing")], 64],
      [["--tls-cert", bad, "--tls-key", bad, "--tls-ca", bad], 64],
    ];
    for (const [args, code] of attempts) {
      expect(await startWrongly(dataDir, ...free, ...args)).toMatchObject({ code });
      expect(await readdir(dataDir).catch(() => [])).toEqual([]);
    }
    const node = await start(1, dataDir);
    await node.stop();
    // A ticket file of a service that was used and deleted is no reason not to start again.
    const again = await ProcessNode.start({
      ...{ binary: builtBinary(), id: 1, dataDir },
      flags: [...flags, "--join-file", join(root, "missing")],
    });
    await again.stop();
  });

  it("for a port in use left nothing that stands in the way", async () => {
    const dataDir = join(root, "port");
    const holder = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => holder.once("listening", resolve));
    const { port } = holder.address() as { port: number };
    for (const args of [
      ["--bind", `127.0.0.1:${port}`, "--http", "off"],
      ["--bind", "127.0.0.1:0", "--http", `127.0.0.1:${port}`],
    ]) {
      expect(await startWrongly(dataDir, ...args)).toMatchObject({ code: 75 });
    }
    holder.close();
    await (await start(1, dataDir)).stop();
  });

  it("after it had begun a cluster is set aside by a join, and goes on without one", async () => {
    const first = await start(1, join(root, "a"));
    const dataDir = join(root, "b");
    const begun = await start(2, dataDir);
    const { clusterId } = begun.ready;
    await begun.stop("SIGKILL");
    await forgetCluster(dataDir);
    const again = await start(2, dataDir);
    expect(again.ready.clusterId).toBe(clusterId);
    await again.stop("SIGKILL");
    await forgetCluster(dataDir);
    const joined = await start(2, dataDir, first.ready.bind);
    expect(joined.ready.clusterId).toBe(first.ready.clusterId);
    expect(joined.stderrTail()).toContain("an earlier start began a new cluster and did not end");
    expect((await readdir(dataDir)).filter((name) => name.startsWith("unfinished-")).length).toBe(1);
    // One that was admitted and has not noted its cluster yet knows it all the same.
    await joined.stop("SIGKILL");
    for (const name of ["node.json", "runtime.json"]) await rm(join(dataDir, name));
    const resumed = await start(2, dataDir);
    expect(resumed.ready.clusterId).toBe(first.ready.clusterId);
    expect(JSON.parse(await readFile(join(dataDir, "node.json"), "utf8"))).toMatchObject({
      clusterId: first.ready.clusterId,
    });
    await resumed.stop();
    await first.stop();
  });

  it("with data of a cluster in it is not set aside, and says so", async () => {
    const first = await start(1, join(root, "c"));
    const dataDir = join(root, "d");
    const used = await start(2, dataDir);
    for (let key = 0; key < 20; key++) {
      expect(await runBinary(["kv", "put", `k${key}`, "v", "--data-dir", dataDir])).toMatchObject({ code: 0 });
    }
    await used.stop();
    await forgetCluster(dataDir);
    const args = ["node", "--id", "2", "--data-dir", dataDir, ...flags, ...free, "--join", first.ready.bind];
    const refused = await runBinary(args);
    expect(refused).toMatchObject({ code: 77, stderr: expect.stringContaining("holds the data of a cluster already") });
    await first.stop();
  });

  const onLinuxRoot = process.platform === "linux" && process.geteuid?.() === 0 ? it : it.skip;
  onLinuxRoot.each([4, 16, 24, 40, 64])(
    "on a disk of %i KiB says that it is full, and goes on when it is not",
    async (kibibytes) => {
      const disk = join(root, `disk-${kibibytes}`);
      await mkdir(disk);
      await run("mount", ["-t", "tmpfs", "-o", `size=${kibibytes}k,mode=0700`, "none", disk]);
      try {
        const full = await startWrongly(join(disk, "n"), ...free);
        expect(full).toMatchObject({ code: 74, stderr: expect.stringContaining("the disk is full") });
        expect(full.stderr).toContain("[STORAGE_FAILED]");
        await run("mount", ["-o", "remount,size=64m", disk]);
        await (await start(1, join(disk, "n"))).stop();
      } finally {
        await run("umount", [disk]);
      }
    },
  );
});
