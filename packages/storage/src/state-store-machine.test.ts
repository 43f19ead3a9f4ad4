import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { concatBytes, fromUtf8, seededRandom, toUtf8 } from "@blixard/common";
import { type AppliedState, asLogIndex, asNodeId, asTerm, emptyConfState, openRaftNode } from "@blixard/raft";
import { MemoryNetwork, memoryPorts } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { openLevelStorage } from "./level/index.ts";
import { MemoryStateStore } from "./memory/index.ts";
import { type ApplyCommand, type StateReader, stateStoreMachine } from "./state-store-machine.ts";

/** Commands are `key=value`, or `key` to delete it. The result is the value that was there before. */
const setOrDelete: ApplyCommand<string | undefined> = (data, tables) => {
  const [key = "", value] = toUtf8(data).split("=");
  const before = tables.get("kv", key);
  if (value === undefined) tables.delete("kv", key);
  else tables.set("kv", key, fromUtf8(value));
  return before === undefined ? undefined : toUtf8(before);
};

const at = (index: number): AppliedState => ({
  ...{ index: asLogIndex(index), term: asTerm(1), confState: emptyConfState() },
});
const entryOf = (command: string, at: number) => ({
  ...({ kind: "normal", term: asTerm(1), index: asLogIndex(at + 1), data: fromUtf8(command) } as const),
});
const shown = (state: StateReader) =>
  state.keys("kv").map((key) => `${key}=${toUtf8(state.get("kv", key) ?? fromUtf8("?"))}`);

async function machineWith(...commands: readonly string[]) {
  const store = new MemoryStateStore();
  const machine = stateStoreMachine(store, setOrDelete);
  await machine.load();
  const results = await machine.apply(commands.map(entryOf), at(commands.length));
  return { store, machine, results };
}

async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return concatBytes(all);
}

async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncIterable<Uint8Array> {
  for (let from = 0; from < bytes.length; from += pieceBytes) yield bytes.subarray(from, from + pieceBytes);
}

describe("stateStoreMachine", () => {
  it("carries out commands in order, and stores what they changed", async () => {
    const { store, machine, results } = await machineWith("b=1", "a=2", "b=3", "", "a");
    expect(results).toEqual([undefined, undefined, "1", undefined, "2"]);
    expect(shown(machine.state)).toEqual(["b=3"]);
    const again = stateStoreMachine(store, setOrDelete);
    expect(await again.load()).toEqual(at(5));
    expect(shown(again.state)).toEqual(["b=3"]);
  });

  it("gives a snapshot that restores the same state, however its bytes are cut", async () => {
    const commands = Array.from({ length: 700 }, (_, n) => `key ${`${n}`.padStart(3, "0")}=value ${n}`);
    const { machine } = await machineWith(...commands);
    const taken = await machine.snapshot();
    await machine.apply([entryOf("key 001=later", 700)], at(701));
    expect(taken.at).toEqual(at(700));
    const bytes = await bytesOf(taken.chunks);
    for (const pieceBytes of [1, 1_000, bytes.length]) {
      const { machine: other } = await machineWith("gone=1");
      await other.restore(taken.at, inPieces(bytes, pieceBytes));
      expect(shown(other.state)).toEqual(commands);
      const copy = await other.snapshot();
      expect(copy.at).toEqual(at(700));
      expect(await bytesOf(copy.chunks)).toEqual(bytes);
    }
  });

  it("refuses a snapshot that is not whole, and keeps its state", async () => {
    const { machine } = await machineWith("a=1", "b=2");
    const bytes = await bytesOf((await machine.snapshot()).chunks);
    const { store, machine: other } = await machineWith("kept=1");
    const tooFew = Uint8Array.from(bytes.with(-1, 3));
    const cut = bytes.subarray(0, -1);
    for (const broken of [new Uint8Array(0), cut, bytes.subarray(0, -8), tooFew, concatBytes([bytes, bytes])]) {
      await expect(other.restore(at(9), inPieces(broken, 16))).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    }
    const twice = inPieces(concatBytes([bytes, bytes]), bytes.length);
    await expect(other.restore(at(9), twice)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(shown(other.state)).toEqual(["kept=1"]);
    expect((await store.load()).applied).toEqual(at(1));
  });

  it("releases a snapshot that nobody reads to its end", async () => {
    const { store, machine } = await machineWith("a=1");
    let closed = 0;
    const { snapshot } = store;
    store.snapshot = async () => ({ ...(await snapshot.call(store)), close: async () => void closed++ });
    for await (const _ of (await machine.snapshot()).chunks) break;
    expect(closed).toBe(1);
  });

  it("runs under RaftNode on Level, over a restart and a compacted log", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "blixard-machine-"));
    const id = asNodeId(1);
    const network = new MemoryNetwork({ random: seededRandom(1) });
    const open = async () => {
      const { log, snapshots, state } = await openLevelStorage({ dataDir });
      const stateMachine = stateStoreMachine(state, setOrDelete);
      const ports = { ...memoryPorts(network, id), log, snapshots, stateMachine };
      const node = await openRaftNode(ports, { id, bootstrap: { voters: [id] }, trailingEntries: 0 });
      await node.status.until(({ ready }) => ready);
      return { node, state: () => shown(stateMachine.state) };
    };
    try {
      const first = await open();
      await first.node.propose(fromUtf8("a=1"));
      await first.node.takeSnapshot();
      await first.node.propose(fromUtf8("b=2"));
      await first.node.close();
      const second = await open();
      await second.node.read();
      expect(second.state()).toEqual(["a=1", "b=2"]);
      expect((await second.node.propose(fromUtf8("a=3"))).result).toBe("1");
      await second.node.close();
    } finally {
      await rm(dataDir, { recursive: true });
    }
  });
});
