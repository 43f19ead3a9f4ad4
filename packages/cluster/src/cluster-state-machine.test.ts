import { type Command, encodeCommand } from "@blixard/protocol";
import { type AppliedState, asLogIndex, asTerm, type Entry, emptyConfState } from "@blixard/raft";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  type ClusterStateMachine,
  type ClusterStateMachineOptions,
  createClusterStateMachine,
} from "./cluster-state-machine.ts";
import { sortedRecords } from "./state-machine/state.ts";
import { type ApplierTable, tableNames } from "./state-machine/types.ts";
import { sha256 } from "./testing/cluster-group.ts";
import { commandArbitrary } from "./testing/command-arbitrary.ts";
import { commandOf, initBody } from "./testing/command-samples.ts";
import { MemoryStateStore } from "./testing/memory-state-store.ts";

/** An entry for each command; undefined stands for the empty entry of a new leader. */
function entriesOf(commands: readonly (Command | undefined)[]): Entry[] {
  return [commandOf(initBody), ...commands].map((command, at) => ({
    kind: "normal",
    index: asLogIndex(at + 1),
    term: asTerm(1),
    data: command === undefined ? new Uint8Array(0) : encodeCommand(command),
  }));
}

const positionOf = (entry: Entry | undefined): AppliedState => ({
  index: entry?.index ?? asLogIndex(0),
  term: entry?.term ?? asTerm(0),
  confState: emptyConfState(),
});

async function machineOn(store = new MemoryStateStore(), options: ClusterStateMachineOptions = { requestWindow: 5 }) {
  const machine = createClusterStateMachine(store, sha256, options);
  await machine.load();
  return {
    machine,
    store,
    apply: (entries: readonly Entry[]) => machine.apply(entries, positionOf(entries.at(-1))),
    tables: () => sortedTables(machine),
  };
}

const sortedTables = ({ state }: ClusterStateMachine) =>
  tableNames.map((table) => [table, sortedRecords(state, table)]);

const log = fc.array(fc.option(commandArbitrary, { nil: undefined, freq: 10 }), { minLength: 1, maxLength: 40 });

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

async function* stream(chunks: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* chunks;
}

describe("ClusterStateMachine", () => {
  it("comes to the same state and hashes from the same log, however it is batched", async () => {
    await fc.assert(
      fc.asyncProperty(log, fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }), async (commands, sizes) => {
        const entries = entriesOf(commands);
        const one = await machineOn();
        const results = await one.apply(entries);
        const many = await machineOn();
        const pieces: unknown[] = [];
        for (let at = 0, round = 0; at < entries.length; round++) {
          const size = sizes[round % sizes.length] ?? 1;
          pieces.push(...(await many.apply(entries.slice(at, at + size))));
          at += size;
        }
        expect(pieces).toEqual(results);
        expect(many.tables()).toEqual(one.tables());
        expect(many.machine.hashes(0, entries.length)).toEqual(one.machine.hashes(0, entries.length));
      }),
      { numRuns: 60 },
    );
  });

  it("goes on from a snapshot, and from what is stored, as if it had applied the whole log", async () => {
    await fc.assert(
      fc.asyncProperty(log, fc.nat(), fc.integer({ min: 1, max: 50 }), async (commands, cutSeed, chunkBytes) => {
        const entries = entriesOf(commands);
        const cut = 1 + (cutSeed % entries.length);
        const whole = await machineOn();
        await whole.apply(entries);
        const first = await machineOn();
        await first.apply(entries.slice(0, cut));
        const { at, chunks } = await first.machine.snapshot();
        // Later changes must not show in a snapshot that was taken before.
        if (cut < entries.length) await first.apply(entries.slice(cut));
        const bytes = Buffer.concat(await readAll(chunks));
        const pieces: Uint8Array[] = [];
        for (let from = 0; from < bytes.length; from += chunkBytes)
          pieces.push(bytes.subarray(from, from + chunkBytes));
        const second = await machineOn();
        await second.machine.restore(at, stream(pieces));
        if (cut < entries.length) await second.apply(entries.slice(cut));
        await second.machine.flush();
        const third = await machineOn(second.store);
        for (const replica of [first, second, third]) {
          expect(replica.tables()).toEqual(whole.tables());
          expect(replica.machine.hashAt(entries.length)).toBe(whole.machine.hashAt(entries.length));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("tells replicas apart whose effects differ", async () => {
    const put = (value: string) => commandOf({ type: "kv.put", key: "k", value });
    const one = await machineOn();
    const two = await machineOn();
    await one.apply(entriesOf([put("1"), put("same")]));
    await two.apply(entriesOf([put("2"), put("same")]));
    expect(one.tables()).toEqual(two.tables());
    expect(one.machine.hashAt(3)).not.toBe(two.machine.hashAt(3));
    expect(one.machine.hashAt(1)).toBe(two.machine.hashAt(1));
  });

  it("keeps a bounded window of hashes over a restart", async () => {
    const options = { hashWindow: 8 };
    const one = await machineOn(undefined, options);
    const entries = entriesOf(Array.from({ length: 40 }, () => undefined));
    for (const entry of entries) {
      await one.apply([entry]);
      await one.machine.backlog.store();
    }
    const two = await machineOn(one.store, options);
    for (const { machine } of [one, two]) {
      const known = machine.hashes(0, 100);
      expect(known.length).toBeGreaterThanOrEqual(8);
      expect(known.length).toBeLessThanOrEqual(10);
      expect(known.at(-1)?.index).toBe(41);
      expect(machine.hashAt(35)).toBe(one.machine.hashAt(35));
      expect(machine.hashAt(20)).toBeUndefined();
      expect(machine.hashAt(42)).toBeUndefined();
    }
  });

  it("refuses garbage like every other replica", async () => {
    const { apply, machine } = await machineOn();
    const entry = (index: number, data: Uint8Array): Entry => ({
      kind: "normal",
      index: asLogIndex(index),
      term: asTerm(1),
      data,
    });
    const [result] = await apply([entry(1, Uint8Array.of(1, 0xc1))]);
    expect(result).toMatchObject({ result: { ok: false, code: "INVALID_ARGUMENT" } });
    expect(machine.version.value.appliedIndex).toBe(1);
  });

  it("refuses a snapshot that was cut, and keeps what it has", async () => {
    const full = await machineOn();
    await full.apply(entriesOf([commandOf({ type: "kv.put", key: "k", value: "v" })]));
    const { at, chunks } = await full.machine.snapshot();
    const bytes = Buffer.concat(await readAll(chunks));
    for (let length = 0; length < bytes.length; length += 37) {
      const empty = await machineOn();
      const cut = empty.machine.restore(at, stream([bytes.subarray(0, length)]));
      await expect(cut).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
      expect(empty.machine.state.kv.size).toBe(0);
    }
  });

  it("stores behind its answers whole states as of an entry, from which the log leads to the same hashes", async () => {
    const batch = fc.record({ size: fc.integer({ min: 1, max: 5 }), stores: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(log, fc.array(batch, { minLength: 1, maxLength: 20 }), async (commands, batches) => {
        const entries = entriesOf(commands);
        const { machine, store, apply } = await machineOn();
        let [at, stored] = [0, 0];
        for (const { size, stores } of batches) {
          const taken = entries.slice(at, at + size);
          if (taken.length === 0) break;
          await apply(taken);
          at += taken.length;
          if (stores) {
            await machine.backlog.store();
            stored = at;
          }
          // A crash here: what is on the disk is the state as of the last write, and not one row more or less.
          const found = await machineOn(store.copy());
          const expected = await machineOn();
          if (stored > 0) await expected.apply(entries.slice(0, stored));
          expect((await found.machine.load()).index).toBe(stored);
          expect(found.tables()).toEqual(expected.tables());
          if (stored < at) await found.apply(entries.slice(stored, at));
          expect(found.machine.hashAt(at)).toBe(machine.hashAt(at));
          expect(found.tables()).toEqual(sortedTables(machine));
        }
      }),
      { numRuns: 40 },
    );
  });

  it("counts what it has answered and not stored, until it is stored", async () => {
    const { machine, store, apply } = await machineOn();
    const put = (value: string) => commandOf({ type: "kv.put", key: "k", value });
    await apply(entriesOf([put("x".repeat(5_000)), put("y".repeat(1_000))]));
    const { bytes } = machine.backlog;
    // The first value was overwritten before anybody stored it.
    expect(bytes).toBeGreaterThan(1_000);
    expect(bytes).toBeLessThan(5_000);
    expect(store.writes).toBe(0);
    const stored = machine.backlog.store();
    expect(machine.backlog.bytes).toBe(bytes);
    await stored;
    expect([machine.backlog.bytes, store.writes]).toEqual([0, 1]);
    await machine.backlog.store();
    expect(store.writes).toBe(1);
  });

  it("takes what it has not stored into a snapshot, a flush and its end", async () => {
    for (const end of ["snapshot", "flush", "close"] as const) {
      const { machine, store, apply } = await machineOn();
      await apply(entriesOf([commandOf({ type: "kv.put", key: "k", value: "v" })]));
      await machine[end]();
      const found = await machineOn(store.copy());
      expect([end, found.machine.state.kv.size, found.machine.version.value.appliedIndex]).toEqual([end, 1, 2]);
    }
  });

  it("stores nothing of a batch that failed half way", async () => {
    const appliers = {
      "cluster.init": () => ({ result: { ok: true, value: null }, changes: [] }),
      "kv.put": (_: unknown, { key }: { readonly key: string }) => {
        if (key === "bad") throw new Error("a mistake of the state machine");
        return { result: { ok: true, value: null }, changes: [{ table: "kv", key, value: { key } }] };
      },
    } as unknown as ApplierTable;
    const { machine, store, apply } = await machineOn(undefined, { appliers });
    const [init, first, second, bad] = entriesOf(
      ["first", "second", "bad"].map((key) => commandOf({ type: "kv.put", key, value: "v" })),
    ) as [Entry, Entry, Entry, Entry];
    await apply([init, first]);
    await machine.backlog.store();
    await expect(apply([second, bad])).rejects.toThrow("a mistake");
    await machine.close();
    const found = await machineOn(store.copy());
    expect([[...found.machine.state.kv.keys()], found.machine.version.value.appliedIndex]).toEqual([["first"], 2]);
    expect(found.machine.hashAt(2)).toBe(machine.hashAt(2));
  });
});
