/**
 * This release is fed what the next one writes: its log, its snapshots and its stored state. The next release is this one
 * with a command, a field and a value more. The value is one that this release knows; it is taken from it here.
 */
import { fromUtf8, toHex } from "@blixard/common";
import {
  type Command,
  type CommandTable,
  commandCodec,
  commands,
  createCommandCodec,
  encodeValue,
  featureLevels,
} from "@blixard/protocol";
import { asLogIndex, asTerm, type Entry, emptyConfState } from "@blixard/raft";
import { describe, expect, it } from "@jest/globals";
import { createClusterStateMachine } from "./cluster-state-machine.ts";
import type { StateRecord } from "./ports/state-store.ts";
import { writeSnapshot } from "./snapshot-format.ts";
import { appliers } from "./state-machine/appliers.ts";
import { sortedRecords } from "./state-machine/state.ts";
import type { ApplierTable } from "./state-machine/types.ts";
import { sha256 } from "./testing/cluster-group.ts";
import { commandOf, initBody, sampleNode } from "./testing/command-samples.ts";
import { MemoryStateStore } from "./testing/memory-state-store.ts";

const laterLevel = featureLevels.own + 1;
const { body: putBody } = commands["kv.put"];
const { body: desireBody } = commands["vm.desire"];
const laterCommands: CommandTable = {
  ...commands,
  "kv.put": {
    ...commands["kv.put"],
    body: putBody.extend({ note: putBody.shape.value.meta({ since: laterLevel }).exactOptional() }),
  },
  "vm.desire": {
    ...commands["vm.desire"],
    body: desireBody.extend({ desired: desireBody.shape.desired.meta({ sinceValue: { paused: laterLevel } }) }),
  },
  "kv.rename": { since: laterLevel, body: commands["kv.cas"].body.pick({ key: true }) },
};
const laterAppliers: ApplierTable = {
  ...appliers,
  "kv.rename": (_state, { key }: { key: string }, { index }) => {
    const value = { key: `${key}-renamed`, value: "", index };
    return { result: { ok: true, value: null }, changes: [{ table: "kv", key: value.key, value }] };
  },
};
const thisRelease = {
  codec: createCommandCodec(
    {
      ...commands,
      "vm.desire": {
        ...commands["vm.desire"],
        body: desireBody.extend({ desired: desireBody.shape.desired.exclude(["paused"]) }),
      },
    },
    featureLevels.own,
  ),
  appliers: appliers as ApplierTable,
};
const laterRelease = { codec: createCommandCodec(laterCommands, laterLevel), appliers: laterAppliers };

async function machineOn(store = new MemoryStateStore(), release = thisRelease) {
  const machine = createClusterStateMachine(store, sha256, release);
  await machine.load();
  return machine;
}

type Machine = Awaited<ReturnType<typeof machineOn>>;

const laterBody = (body: object): Command => commandOf(body as Command["body"]);
const encode = (command: Command) => laterRelease.codec.encode(command);
const put = (key: string) => encode(commandOf({ type: "kv.put", key, value: "v" }));
const raise = encode(commandOf({ type: "cluster.setLevel", level: laterLevel }));
/** A cluster whose one member runs the later release. */
const init = encode(
  commandOf({ ...initBody, node: sampleNode(1, { featureLevel: laterLevel, version: "9.9.9" }) } as typeof initBody),
);

const newEntries: readonly (readonly [string, Uint8Array])[] = [
  ["a new command", encode(laterBody({ type: "kv.rename", key: "a" }))],
  ["a new field in an old command", encode(laterBody({ type: "kv.put", key: "a", value: "v", note: "n" }))],
  [
    "a new value of an old field",
    encode(laterBody({ type: "vm.desire", name: "w", desired: "paused", newEpoch: false })),
  ],
  ["the step to its level", raise],
];

const entriesOf = (all: readonly Uint8Array[], from = 1): Entry[] =>
  all.map((data, at) => ({ kind: "normal", index: asLogIndex(from + at), term: asTerm(1), data }));

async function apply(machine: Machine, entries: readonly Entry[]) {
  const last = entries.at(-1);
  const at = { index: last?.index ?? asLogIndex(0), term: asTerm(1), confState: emptyConfState() };
  const results = await machine.apply(entries, at);
  await machine.backlog.store();
  return results;
}

const shown = ({ state, version }: Machine) => [version.value.appliedIndex, sortedRecords(state, "kv")];

async function* stream<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items;
}

async function snapshotOf(machine: Machine) {
  const { at, chunks } = await machine.snapshot();
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return { at, bytes: new Uint8Array(Buffer.concat(all)) };
}

describe("the log of the next release", () => {
  it.each(newEntries)("stops this one before it applies %s, and the next one goes on there", async (_, data) => {
    const store = new MemoryStateStore();
    const machine = await machineOn(store);
    await apply(machine, entriesOf([init, put("a")]));
    const [before, writes] = [shown(machine), store.writes];
    const next = entriesOf([put("b"), data, put("c")], 3);
    await expect(apply(machine, next)).rejects.toMatchObject({
      code: "NEEDS_UPGRADE",
      message: expect.stringContaining(`entry at 4 needs feature level ${laterLevel}`),
      hint: expect.stringContaining("node 1 (9.9.9)"),
    });
    expect([shown(machine), store.writes]).toEqual([before, writes]);
    const upgraded = await machineOn(store, laterRelease);
    await apply(upgraded, next);
    const whole = await machineOn(new MemoryStateStore(), laterRelease);
    await apply(whole, [...entriesOf([init, put("a")]), ...next]);
    expect(shown(upgraded)).toEqual(shown(whole));
    expect(upgraded.hashAt(5)).toBe(whole.hashAt(5));
  });

  it.each(newEntries)("is refused by both alike where %s claims a level that does not know it", async (_, data) => {
    const forged = Uint8Array.from(data);
    forged[0] = featureLevels.own;
    const entries = entriesOf([init, forged, put("a")]);
    const [one, two] = [await machineOn(), await machineOn(undefined, laterRelease)];
    const [, refused] = await apply(one, entries);
    expect(refused).toMatchObject({ result: { ok: false, code: "INVALID_ARGUMENT" } });
    await apply(two, entries);
    expect(two.hashAt(3)).toBe(one.hashAt(3));
  });
});

describe("a snapshot of the next release", () => {
  it("is no damage but needs an upgrade, and this release keeps what it has", async () => {
    const later = await machineOn(undefined, laterRelease);
    await apply(later, entriesOf([init, raise, put("a")]));
    const { at, bytes } = await snapshotOf(later);
    const machine = await machineOn();
    await apply(machine, entriesOf([init]));
    const before = shown(machine);
    await expect(machine.restore(at, stream([bytes]))).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
    expect(shown(machine)).toEqual(before);
    const upgraded = await machineOn(undefined, laterRelease);
    await upgraded.restore(at, stream([bytes]));
    expect(shown(upgraded)).toEqual(shown(later));
  });

  it("needs an upgrade for a table that is not known, whatever level it states", async () => {
    const backup: StateRecord = { table: "backups", key: fromUtf8("b"), value: encodeValue({ size: 1 }) };
    const at = { index: asLogIndex(1), term: asTerm(1), confState: emptyConfState() };
    const chunks = () => writeSnapshot(stream([[backup]]), () => true, featureLevels.own);
    const machine = await machineOn();
    await expect(machine.restore(at, chunks())).rejects.toMatchObject({
      code: "NEEDS_UPGRADE",
      message: expect.stringContaining("backups"),
    });
    const store = new MemoryStateStore();
    await store.replaceAll(at, stream([[backup]]));
    await expect(machineOn(store)).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
  });
});

describe("the stored state of the next release", () => {
  it("needs an upgrade once the level of the cluster has risen, and not before", async () => {
    const store = new MemoryStateStore();
    const later = await machineOn(store, laterRelease);
    await apply(later, entriesOf([init, put("a")]));
    expect(shown(await machineOn(store))).toEqual(shown(later));
    await apply(later, entriesOf([raise], 3));
    await expect(machineOn(store)).rejects.toMatchObject({
      code: "NEEDS_UPGRADE",
      hint: expect.stringContaining("node 1 (9.9.9)"),
    });
    expect(shown(await machineOn(store, laterRelease))).toEqual(shown(later));
  });
});

describe("the snapshots of this release", () => {
  it("have the format of releases before it until the level has risen, and state it then", async () => {
    const machine = await machineOn();
    const toOwn = commandCodec.encode(commandOf({ type: "cluster.setLevel", level: featureLevels.own }));
    await apply(machine, entriesOf([init, put("a")]));
    expect(toHex((await snapshotOf(machine)).bytes.subarray(0, 5))).toBe("424c585301");
    await apply(machine, entriesOf([toOwn], 3));
    const { at, bytes } = await snapshotOf(machine);
    expect(toHex(bytes.subarray(0, 5))).toBe("424c585302");
    expect(bytes[5]).toBe(featureLevels.own);
    const other = await machineOn();
    await other.restore(at, stream([bytes]));
    expect(other.state.level.get("level")).toEqual({ level: featureLevels.own, index: 3 });
  });
});
