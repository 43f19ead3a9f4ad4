/**
 * The stores that release 056bb98 left (`tools/release-fixtures`) open, and their snapshot, log and state lead to the
 * hash that the release gave itself.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createClusterStateMachine } from "@blixard/cluster";
import { emptyConfState, type SnapshotStore } from "@blixard/raft";
import { type LevelStorage, openLevelStorage } from "@blixard/storage/level";
import { MemoryStateStore } from "@blixard/storage/memory";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

const folder = fileURLToPath(new URL("../../../tools/release-fixtures/056bb98/", import.meta.url));
const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest());
const pieceBytes = 1_000;

async function* piecesOf(snapshots: SnapshotStore, meta: { readonly index: number; readonly sizeBytes: number }) {
  const newest = await snapshots.latest();
  if (newest?.index !== meta.index) throw new Error("the snapshot is another one");
  for (let offset = 0; offset < meta.sizeBytes; offset += pieceBytes) {
    yield await snapshots.read(newest.index, offset, pieceBytes);
  }
}

describe.each([
  { name: "single", id: 1, hasSnapshot: true },
  { name: "cluster", id: 1, hasSnapshot: true },
  { name: "cluster", id: 2, hasSnapshot: false },
  { name: "cluster", id: 3, hasSnapshot: false },
])("the stores of node $id of the fixture $name", ({ name, id, hasSnapshot }) => {
  const facts = JSON.parse(readFileSync(join(folder, `${name}.facts.json`), "utf8"));
  let root: string;
  let storage: LevelStorage;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "blixard-release-"));
    execFileSync("tar", ["-xzf", join(folder, `${name}.tar.gz`), "-C", root]);
    storage = await openLevelStorage({ dataDir: join(root, `node-${id}`) });
  });

  afterAll(async () => {
    await storage?.close();
    rmSync(root, { recursive: true, force: true });
  });

  it("hold a state with the hash of the release", async () => {
    const machine = createClusterStateMachine(storage.state, sha256);
    const applied = await machine.load();
    expect(applied.index).toBeGreaterThanOrEqual(facts.appliedIndex);
    expect(machine.hashAt(facts.appliedIndex)).toBe(facts.stateHash);
  });

  it("hold a snapshot, or everything from the start, and a log that leads to the same state", async () => {
    const { base, entries } = await storage.log.load();
    const snapshot = await storage.snapshots.latest();
    expect(snapshot?.index).toBe(hasSnapshot ? facts.snapshotIndex : undefined);
    expect(base.index).toBe(facts.logBase ?? 0);
    expect(storage).toMatchObject({ isNew: false, starts: 2, health: { corruptions: 0 } });

    const machine = createClusterStateMachine(new MemoryStateStore(), sha256);
    await machine.load();
    if (snapshot !== undefined) await machine.restore(snapshot, piecesOf(storage.snapshots, snapshot));
    const rest = entries.filter((entry) => entry.index > (snapshot?.index ?? 0));
    for (const entry of rest) await machine.apply([entry], { ...entry, confState: emptyConfState() });
    expect(machine.hashAt(facts.appliedIndex)).toBe(facts.stateHash);
    expect([...machine.state.kv.values()]).toEqual(expect.arrayContaining(facts.kv));
    expect(machine.state.kv.size).toBe(facts.kv.length);
  });
});
