/** The stores of a node with the checker in front of them. */

import type { StateRecord, StateStore } from "@blixard/cluster";
import { bytesEqual, type Logger, toHex } from "@blixard/common";
import type { ConfState, LogStore, SnapshotStore, StateMachine } from "@blixard/raft";
import type { RaftChecker } from "./raft-checker.ts";
import type { SimProcess } from "./sim-process.ts";
import type { HashRow } from "./state-checker.ts";

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
/** A node that has lost its disk ends at once; its process takes its leave of nobody for longer. */
const endsWithinMs = 1_000;

/**
 * The hash function of one run of a cluster node. The state machine hashes each entry behind the hash of the one before, so
 * what it applies is seen here at once, long before it is stored.
 */
export class ObservedSha256 {
  readonly #sha256: (bytes: Uint8Array) => Uint8Array;
  readonly #onApplied: (row: HashRow) => void;
  /** The hash behind which the next entry is hashed. */
  chain: Uint8Array = new Uint8Array(hashBytes);

  constructor(sha256: (bytes: Uint8Array) => Uint8Array, onApplied: (row: HashRow) => void) {
    this.#sha256 = sha256;
    this.#onApplied = onApplied;
  }

  readonly hash = (bytes: Uint8Array): Uint8Array => {
    const hash = this.#sha256(bytes);
    const isEntry = bytes.length >= hashRowBytes && bytesEqual(bytes.subarray(0, hashBytes), this.chain);
    if (!isEntry) return hash;
    this.chain = hash;
    this.#onApplied({ index: uint64At(bytes, hashBytes), term: uint64At(bytes, hashBytes + 8), hash: toHex(hash) });
    return hash;
  };
}

/** The state of a cluster node, with the hashes that it makes and the log that it was told of. */
export function observeState(
  state: StateStore,
  process: SimProcess,
  checker: RaftChecker,
  sha256: ObservedSha256,
): StateStore {
  const { nodeId } = process;
  const { states } = checker;
  const failing = <T>(work: Promise<T>): Promise<T> => {
    work.catch(() => process.after(endsWithinMs, () => states.outlivedFailure(nodeId)));
    return work;
  };
  return {
    load: async () => {
      const { applied, records } = await state.load();
      states.stateLoaded(nodeId, applied.index);
      const take = ({ table, value }: StateRecord) => {
        if (table === chainTable) sha256.chain = value;
      };
      return { applied, records: tapped(records, take) };
    },
    write: (changes, applied) => {
      if (process.alive) {
        const rows = changes.flatMap(({ table, value }) => (table === hashTable && value ? hashRows(value) : []));
        const chain = changes.find(({ table }) => table === chainTable)?.value;
        states.writing(nodeId, { index: applied.index, rows, chain });
      }
      return failing(state.write(changes, applied));
    },
    replaceAll: async (applied, batches) => {
      let hash = new Uint8Array(0);
      const take = (record: StateRecord) => {
        if (record.table === chainTable) hash = new Uint8Array(record.value);
      };
      if (process.alive) states.replacing(nodeId, applied.index);
      await state.replaceAll(applied, tapped(batches, take));
      states.replaced(nodeId, applied.index);
      checker.configured(nodeId, applied.confState);
      checker.restored(nodeId, applied, toHex(hash));
      sha256.chain = hash;
    },
    snapshot: () => state.snapshot(),
    flush: () => {
      const index = states.stateIndexOf(nodeId);
      return failing(state.flush().then(() => states.flushed(nodeId, index)));
    },
    close: () => state.close(),
  };
}

/** The log of a node whose state is observed, too. */
export function observeLogOfState(log: LogStore, process: SimProcess, checker: RaftChecker): LogStore {
  const { nodeId } = process;
  const { states } = checker;
  const observed = observeLog(log, process, checker);
  return {
    load: async (options) => {
      const contents = await observed.load(options);
      states.logLoaded(nodeId, contents);
      return contents;
    },
    append: (write) => observed.append(write).then(() => states.appended(nodeId, write)),
    compact: (base) => {
      if (process.alive) states.compacting(nodeId, base.index);
      return observed.compact(base);
    },
    reset: (base, hardState) => observed.reset(base, hardState).then(() => states.logReset(nodeId, base.index)),
    close: () => observed.close(),
  };
}

/** Tells the checker of each configuration when the core takes it over: the state with it is written later. */
export function observeLogger(logger: Logger, process: SimProcess, checker: RaftChecker): Logger {
  return {
    child: (fields) => logger.child(fields),
    log: (level, message, fields) => {
      if (message === "raft: configurationChanged" && process.alive) {
        checker.configured(process.nodeId, fields?.["confState"] as ConfState);
      }
      logger.log(level, message, fields);
    },
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

function hashRows(rows: Uint8Array): HashRow[] {
  const read: HashRow[] = [];
  for (let at = 0; at + hashRowBytes <= rows.length; at += hashRowBytes) {
    const hash = toHex(rows.subarray(at + 16, at + hashRowBytes));
    read.push({ index: uint64At(rows, at), term: uint64At(rows, at + 8), hash });
  }
  return read;
}

function uint64At(bytes: Uint8Array, offset: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(offset) * 2 ** 32 + view.getUint32(offset + 4);
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
