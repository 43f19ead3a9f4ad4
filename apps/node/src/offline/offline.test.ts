import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { loadOrCreateNodeKey } from "@blixard/identity";
import { encodeValue, type NodeRecord } from "@blixard/protocol";
import { asLogIndex, asNodeId, asTerm, type Entry } from "@blixard/raft";
import { openDataDir, readMembers, readRecovery, writeNodeFile } from "@blixard/server/data-dir";
import { openLevelStorage } from "@blixard/storage/level";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { checkDataDir } from "./check-data-dir.ts";
import { planClusterRecovery, recoverCluster } from "./recover-cluster.ts";
import { planNodeRecovery, recoverNode } from "./recover-node.ts";

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "blixard-offline-"));
});
afterEach(() => rm(dataDir, { recursive: true }));

const record = (id: number, endpointId = `${id}`.repeat(64)): NodeRecord => ({
  id,
  name: `n${id}`,
  endpointId,
  addresses: [`127.0.0.1:${7000 + id}`],
  role: "voter",
  incarnation: 1,
  capacity: { vcpus: 1, memoryMiB: 64, drivers: [] },
  version: "0",
  featureLevel: 1,
  joinedUnixMs: 1,
  cordoned: false,
});

/** The data directory of node 1, whose state and log know these voters; the log has two entries more than it applied. */
async function makeDataDir(voters: readonly number[]): Promise<void> {
  const { endpointId } = await loadOrCreateNodeKey(join(dataDir, "node.key"));
  const opened = await openDataDir({ id: 1, dataDir }, {});
  await writeNodeFile(opened, { formatVersion: 1, nodeId: 1, clusterId: "c", endpointId, createdUnixMs: 1 });
  const storage = await openLevelStorage({ dataDir });
  await storage.log.load();
  await storage.state.load();
  const entries = [1, 2, 3, 4].map(
    (index): Entry => ({ term: asTerm(2), index: asLogIndex(index), kind: "normal", data: new Uint8Array() }),
  );
  await storage.log.append({ entries, hardState: { term: asTerm(3), vote: asNodeId(1), commit: asLogIndex(2) } });
  const confState = {
    voters: voters.map(asNodeId),
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  const changes = voters.map((id) => ({
    table: "nodes",
    key: fromUtf8(`0000${id}`),
    value: encodeValue(id === 1 ? record(1, endpointId) : record(id)),
  }));
  const vm = encodeValue({ name: "web", node: 3 });
  await storage.state.write([...changes, { table: "vms", key: fromUtf8("web"), value: vm }], {
    index: asLogIndex(2),
    term: asTerm(2),
    confState,
  });
  await storage.close();
}

describe("recoverNode", () => {
  it("moves the store aside, keeps the identity, and notes the others where the next start looks", async () => {
    await makeDataDir([1, 2, 3]);
    const plan = await planNodeRecovery(dataDir, systemClock);
    expect(plan).toMatchObject({ nodeId: 1, clusterId: "c", store: "whole", damage: [] });
    expect(plan.others.map(({ id }) => id)).toEqual([2, 3]);
    const key = await readFile(join(dataDir, "node.key"), "utf8");
    await recoverNode(plan, systemClock);
    const names = await readdir(dataDir);
    expect(names).toEqual(expect.arrayContaining(["node.key", "node.json", "join.json", "recover.json"]));
    for (const name of ["STORAGE", "log", "state", "snapshots", "vote"]) expect(names).not.toContain(name);
    expect(await readFile(join(dataDir, "node.key"), "utf8")).toBe(key);
    expect((await readRecovery(dataDir))?.backup).toBe(plan.backup);
    expect((await readMembers(dataDir))?.nodes.map(({ id }) => id)).toEqual([2, 3]);
    expect(await readdir(plan.backup)).toContain("STORAGE");
    // Once more, as after a crash in the middle: the others are known from the file now.
    const again = await planNodeRecovery(dataDir, systemClock);
    expect([again.store, again.others.length]).toEqual(["missing", 2]);
    await recoverNode(again, systemClock);
  });

  it("names the damage of a store that cannot be read", async () => {
    await makeDataDir([1, 2, 3]);
    await writeFile(join(dataDir, "log", "CURRENT"), "nonsense");
    const plan = await planNodeRecovery(dataDir, systemClock);
    expect(plan.store).toBe("damaged");
    expect(plan.damage.join()).toContain("CURRENT");
  });

  it.each([[[1]], [[1, 2]]])("refuses when the other voters of %j could not let it in", async (voters) => {
    await makeDataDir(voters);
    await expect(planNodeRecovery(dataDir, systemClock)).rejects.toMatchObject({ code: "QUORUM_AT_RISK" });
    expect(await readdir(dataDir)).toContain("STORAGE");
  });

  it("refuses a directory whose key is gone, and one that is none", async () => {
    await writeFile(join(dataDir, "file"), "");
    for (const path of [dataDir, join(dataDir, "file"), join(dataDir, "file", "below"), join(dataDir, "missing")]) {
      await expect(checkDataDir(path)).rejects.toMatchObject({ code: "DATA_DIR_INVALID" });
    }
    await makeDataDir([1, 2, 3]);
    await rm(join(dataDir, "node.key"));
    await expect(planNodeRecovery(dataDir, systemClock)).rejects.toMatchObject({ code: "DATA_DIR_FOREIGN" });
  });
});

describe("recoverCluster", () => {
  it("keeps the log, and commits the removal of everybody else behind it", async () => {
    await makeDataDir([1, 2, 3]);
    const plan = await planClusterRecovery(dataDir, systemClock);
    expect(plan).toMatchObject({
      lastIndex: 4,
      lastTerm: 2,
      commitIndex: 2,
      voters: [1, 2, 3],
      removed: [{ id: 2 }, { id: 3 }],
      orphanedVms: ["web"],
    });
    await recoverCluster(plan, systemClock);
    const storage = await openLevelStorage({ dataDir });
    const { entries, hardState } = await storage.log.load();
    await storage.close();
    expect(entries.slice(0, 4).every((entry) => entry.term === 2)).toBe(true);
    expect(
      entries.slice(4).map((entry) => (entry.kind === "confChange" ? entry.change.changes[0] : "command")),
    ).toEqual([{ op: "remove", id: 2 }, { op: "remove", id: 3 }, "command", "command"]);
    expect(hardState).toEqual({ term: 4, vote: 1, commit: 8 });
    // The backup is a whole store, as it was.
    const backup = await openLevelStorage({ dataDir: plan.backup });
    expect((await backup.log.load()).entries.length).toBe(4);
    await backup.close();
    // Doing it again finds nothing left to do.
    await expect(planClusterRecovery(dataDir, systemClock)).rejects.toMatchObject({ code: "CONFLICT" });
  });

  it("refuses a survivor that is damaged", async () => {
    await makeDataDir([1, 2, 3]);
    await writeFile(join(dataDir, "state", "CURRENT"), "nonsense");
    await expect(planClusterRecovery(dataDir, systemClock)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });
});
