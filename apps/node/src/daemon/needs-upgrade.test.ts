import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asLogIndex, type Entry } from "@blixard/raft";
import { openLevelStorage } from "@blixard/storage/level";
import { ProcessNode } from "@blixard/testing";
import { describe, expect, it } from "@jest/globals";
import { builtBinary } from "../e2e/binary.ts";
import { runBinary } from "../e2e/run-binary.ts";

const flags = ["--vm-driver", "fake", "--no-relay", "--no-discovery"];
/** An entry that states a level which this release does not understand. */
const laterData = Uint8Array.of(200, 1, 2, 3);

/** Commits an entry behind the last one, as a leader of a later release would have done. */
async function appendEntry(dataDir: string): Promise<void> {
  const storage = await openLevelStorage({ dataDir });
  const { base, entries, hardState } = await storage.log.load();
  const index = asLogIndex(base.index + entries.length + 1);
  const entry: Entry = { kind: "normal", term: hardState.term, index, data: laterData };
  await storage.log.append({ entries: [entry], hardState: { ...hardState, commit: index } });
  await storage.close();
}

async function loggedData(dataDir: string): Promise<string[]> {
  const storage = await openLevelStorage({ dataDir });
  const { entries } = await storage.log.load();
  await storage.close();
  return entries.map((entry) => (entry.kind === "normal" ? Buffer.from(entry.data).toString("hex") : entry.kind));
}

async function keptFiles(dataDir: string) {
  const names = (await readdir(dataDir)).sort();
  const texts = await Promise.all(
    ["node.json", "node.key", "admin.token"].map((name) => readFile(join(dataDir, name), "utf8")),
  );
  return { names, texts };
}

describe("a node whose log needs a later release", () => {
  it("ends with 78 in words each time, and leaves everything where it is", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "blixard-later-"));
    const node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir, flags });
    expect(await runBinary(["kv", "put", "a", "1", "--data-dir", dataDir])).toMatchObject({ code: 0 });
    await node.stop("SIGTERM");
    await appendEntry(dataDir);
    const [files, logged] = [await keptFiles(dataDir), await loggedData(dataDir)];
    expect(logged.at(-1)).toBe(Buffer.from(laterData).toString("hex"));
    const args = ["node", "--data-dir", dataDir, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", ...flags];
    for (let start = 0; start < 2; start++) {
      const { code, stderr } = await runBinary(args, { timeoutMs: 40_000 });
      expect({ code, stderr }).toMatchObject({ code: 78, stderr: expect.stringContaining("NEEDS_UPGRADE") });
      expect(stderr).toContain("needs feature level 200");
    }
    expect(await keptFiles(dataDir)).toEqual(files);
    expect((await loggedData(dataDir)).slice(0, logged.length)).toEqual(logged);
    expect(await runBinary(["check", "--data-dir", dataDir])).toMatchObject({ code: 0 });
    await rm(dataDir, { recursive: true });
  });
});
