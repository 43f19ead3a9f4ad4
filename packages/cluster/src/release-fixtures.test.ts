/**
 * What release 056bb98 wrote is read, and means what it meant there: its log and a snapshot of its state, with the
 * hashes and the answers that it gave itself (`tools/release-fixtures`).
 */
import { readFileSync } from "node:fs";
import { toHex } from "@blixard/common";
import { type Command, decodeCommand, featureLevels } from "@blixard/protocol";
import { type AppliedState, type Entry, emptyConfState } from "@blixard/raft";
import { describe, expect, it } from "@jest/globals";
import { createClusterStateMachine } from "./cluster-state-machine.ts";
import { readSnapshot } from "./snapshot-format.ts";
import { sortedRecords } from "./state-machine/state.ts";
import { sha256 } from "./testing/cluster-group.ts";
import { MemoryStateStore } from "./testing/memory-state-store.ts";

/** One line of the log: an entry, its bytes in hexadecimal, what the release decoded, and the hash after it. */
type GoldenEntry = Omit<Entry, "data"> & {
  readonly data?: string;
  readonly command?: Command;
  readonly hash: string;
};

const read = (name: string) =>
  readFileSync(new URL(`../../../tools/release-fixtures/056bb98/${name}`, import.meta.url));
const golden: readonly GoldenEntry[] = read("log.jsonl")
  .toString()
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line));
const facts = JSON.parse(read("cluster.facts.json").toString());
const snapshotMeta: AppliedState = JSON.parse(read("snapshot.meta.json").toString());
const snapshotBytes = read("snapshot.bin");

const commandTypes = [
  ...["cluster.init", "image.put", "image.remove", "kv.cas", "kv.delete", "kv.put", "node.admit", "node.liveness"],
  ...["node.remove", "node.update", "ticket.create", "ticket.revoke", "token.create", "token.revoke", "vm.create"],
  ...["vm.desire", "vm.observe", "vm.purge"],
];

const entries = golden.map(({ data, command: _command, hash: _hash, ...entry }) =>
  data === undefined ? entry : { ...entry, data: new Uint8Array(Buffer.from(data, "hex")) },
) as readonly Entry[];
const indexes = golden.map(({ index, term, hash }) => ({ index, term, hash }));

async function emptyMachine() {
  const machine = createClusterStateMachine(new MemoryStateStore(), sha256);
  await machine.load();
  return machine;
}

type Machine = Awaited<ReturnType<typeof emptyMachine>>;

async function applyTo(machine: Machine, some: readonly Entry[]): Promise<void> {
  const last = some.at(-1);
  if (last !== undefined) await machine.apply(some, { ...last, confState: emptyConfState() });
}

async function* stream(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** The records of a snapshot in an order of their own: that of the stream is the store's. */
async function recordsOf(chunks: AsyncIterable<Uint8Array>): Promise<readonly string[]> {
  const records: string[] = [];
  for await (const batch of readSnapshot(chunks, featureLevels.base)) {
    for (const { table, key, value } of batch) records.push(`${table} ${toHex(key)} ${toHex(value)}`);
  }
  return records.sort();
}

/** The state as the HTTP API of the release showed it: without the hashes of secrets. */
function shown(machine: Machine) {
  const { state } = machine;
  const only = (record: object, like: object) =>
    Object.fromEntries(Object.entries(record).filter(([field]) => field in like));
  return {
    kv: sortedRecords(state, "kv"),
    vms: sortedRecords(state, "vms"),
    images: sortedRecords(state, "images"),
    nodes: sortedRecords(state, "nodes").map((record, at) => only(record, facts.nodes[at] ?? {})),
    tickets: sortedRecords(state, "tickets").map(({ secretHash: _, ...view }) => view),
    tokens: sortedRecords(state, "tokens").map(({ tokenHash: _, ...view }) => view),
  };
}

const { kv, vms, images, nodes, tickets, tokens } = facts;
const expected = { kv, vms, images, nodes, tickets, tokens };

describe("the log of release 056bb98", () => {
  it("holds every type of command, and each is decoded to what the release meant", () => {
    const commands = golden.filter(({ command }) => command !== undefined);
    expect([...new Set(commands.map(({ command }) => command?.body.type))].sort()).toEqual(commandTypes);
    for (const { data, command } of commands) {
      expect(decodeCommand(Buffer.from(data ?? "", "hex"))).toEqual(command);
    }
  });

  it("is applied with the same effect: the same hash after each entry, and the same state at the end", async () => {
    const machine = await emptyMachine();
    await applyTo(machine, entries);
    expect(machine.hashes(1, facts.appliedIndex)).toEqual(indexes);
    expect(machine.hashAt(facts.appliedIndex)).toBe(facts.stateHash);
    expect(machine.state.cluster.get("cluster")?.clusterId).toBe(facts.clusterId);
    expect(shown(machine)).toEqual(expected);
  });
});

describe("a snapshot of release 056bb98", () => {
  it("is restored, and the log after it leads to the same state", async () => {
    const machine = await emptyMachine();
    await machine.restore(snapshotMeta, stream(snapshotBytes));
    expect(machine.hashAt(snapshotMeta.index)).toBe(golden[snapshotMeta.index - 1]?.hash);
    await applyTo(machine, entries.slice(snapshotMeta.index));
    expect(machine.hashAt(facts.appliedIndex)).toBe(facts.stateHash);
    expect(shown(machine)).toEqual(expected);
  });

  it("has the records that this release writes of the same state, byte for byte", async () => {
    const machine = await emptyMachine();
    await applyTo(machine, entries.slice(0, snapshotMeta.index));
    const { chunks } = await machine.snapshot();
    expect(await recordsOf(chunks)).toEqual(await recordsOf(stream(snapshotBytes)));
  });
});
