/** The stores of a node with the checker in front of them. */

import type { StateRecord, StateStore } from "@blixard/cluster";
import { toHex } from "@blixard/common";
import type { LogStore, SnapshotStore, StateMachine } from "@blixard/raft";
import type { RaftChecker } from "./raft-checker.ts";
import type { SimProcess } from "./sim-process.ts";

export function observeLog(log: LogStore, process: SimProcess, checker: RaftChecker): LogStore {
  const { nodeId } = process;
  return {
    load: async (options) => {
      const contents = await log.load(options);
      checker.loaded(nodeId, contents);
      return contents;
    },
    append: (write) => {
      if (process.alive) checker.appending(nodeId, write);
      return log.append(write).then(() => checker.appended(nodeId, write));
    },
    compact: (base) => {
      if (process.alive) checker.compacting(nodeId, base);
      return log.compact(base);
    },
    reset: (base, hardState) => {
      if (process.alive) checker.resetting(nodeId, base);
      return log.reset(base, hardState);
    },
    close: () => log.close(),
  };
}

export function observeSnapshots(snapshots: SnapshotStore, process: SimProcess, checker: RaftChecker): SnapshotStore {
  return {
    latest: () => snapshots.latest(),
    save: async (meta, chunks, options) => {
      const saved = await snapshots.save(meta, chunks, options);
      if (process.alive) checker.snapshotSaved(process.nodeId, meta.index);
      return saved;
    },
    read: (index, offset, bytesMax) => snapshots.read(index, offset, bytesMax),
    close: () => snapshots.close(),
  };
}

/** The tables in which the cluster's state machine keeps the hash of the state after each entry. */
const hashTable = "hashes";
const chainTable = "chain";
const hashBytes = 32;
const hashRowBytes = 16 + hashBytes;

export function observeState(state: StateStore, process: SimProcess, checker: RaftChecker): StateStore {
  const { nodeId } = process;
  return {
    load: () => state.load(),
    write: (changes, applied) => {
      for (const { table, value } of changes) {
        if (table === hashTable && value !== undefined && process.alive) reportRows(checker, nodeId, value);
      }
      if (process.alive) checker.configured(nodeId, applied.confState);
      return state.write(changes, applied);
    },
    replaceAll: async (applied, batches) => {
      let hash = "";
      const take = (record: StateRecord) => {
        if (record.table === chainTable) hash = toHex(record.value);
      };
      await state.replaceAll(applied, tapped(batches, take));
      checker.configured(nodeId, applied.confState);
      checker.restored(nodeId, applied, hash);
    },
    snapshot: () => state.snapshot(),
    flush: () => state.flush(),
    close: () => state.close(),
  };
}

/** A user's state machine; `look` says what its state is now. */
export function observeStateMachine<Result>(
  machine: StateMachine<Result>,
  process: SimProcess,
  checker: RaftChecker,
  look: () => string,
): StateMachine<Result> {
  const { nodeId } = process;
  return {
    load: () => machine.load(),
    apply: async (entries, after) => {
      const results = await machine.apply(entries, after);
      if (!process.alive) return results;
      checker.configured(nodeId, after.confState);
      for (const { index, term } of entries) {
        checker.applied(nodeId, index, term, index === after.index ? look() : undefined);
      }
      return results;
    },
    snapshot: () => machine.snapshot(),
    restore: async (at, chunks) => {
      await machine.restore(at, chunks);
      if (!process.alive) return;
      checker.configured(nodeId, at.confState);
      checker.restored(nodeId, at, look());
    },
    flush: () => machine.flush(),
    close: () => machine.close(),
  };
}

function reportRows(checker: RaftChecker, nodeId: number, rows: Uint8Array): void {
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  const uint64 = (at: number) => view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
  for (let at = 0; at + hashRowBytes <= rows.length; at += hashRowBytes) {
    checker.applied(nodeId, uint64(at), uint64(at + 8), toHex(rows.subarray(at + 16, at + hashRowBytes)));
  }
}

async function* tapped(
  batches: AsyncIterable<readonly StateRecord[]>,
  take: (record: StateRecord) => void,
): AsyncIterable<readonly StateRecord[]> {
  for await (const batch of batches) {
    for (const record of batch) take(record);
    yield batch;
  }
}
