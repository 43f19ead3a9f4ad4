/** The output of a VM, and the keys and VMs of the cluster as they come, over streams that are opened again where one broke. */
import { BlixardError, type Clock, errorCodes, isBlixardError, sleep } from "@blixard/common";
import {
  type KvChange,
  type KvEntry,
  kvChanges,
  type StreamOutputOf,
  type StreamRequestOf,
  type VmChange,
  type VmRecord,
  vmChanges,
} from "@blixard/protocol";
import type { StreamFunction } from "./call-types.ts";

export interface FollowOptions {
  readonly signal?: AbortSignal;
  /** The local state of the node that answers, perhaps old. */
  readonly stale?: boolean;
}

const reopenMs = 500;

/** Goes on where the last piece ended, so that every byte comes once. */
export async function* followLogs(
  stream: StreamFunction,
  clock: Clock,
  request: StreamRequestOf<"vm.logs">,
  options: FollowOptions,
): AsyncGenerator<StreamOutputOf<"vm.logs">> {
  let { offset } = request;
  const open = () => stream("vm.logs", { ...request, offset }, options);
  for await (const piece of reopened(clock, open, options)) {
    offset = piece.offset + piece.data.length;
    yield piece;
  }
}

/** How the stream that watches a table says what became of its rows. */
interface Watched<Change, Row> {
  /** Whether the change says that all that is there was told. */
  readonly isCurrent: (change: Change) => boolean;
  readonly keyOf: (change: Change) => string;
  /** What was written; undefined for what was deleted. */
  readonly rowOf: (change: Change) => Row | undefined;
  readonly indexOf: (row: Row) => number;
  /** What is told of the step from what was seen to what is there. */
  readonly changes: (seen: Map<string, number>, present: ReadonlyMap<string, Row>) => readonly Change[];
}

const watchedKeys: Watched<KvChange, KvEntry> = {
  isCurrent: ({ type }) => type === "current",
  keyOf: (change) => (change.type === "put" ? change.entry.key : change.type === "delete" ? change.key : ""),
  rowOf: (change) => (change.type === "put" ? change.entry : undefined),
  indexOf: ({ index }) => index,
  changes: kvChanges,
};

const watchedVms: Watched<VmChange, VmRecord> = {
  isCurrent: ({ type }) => type === "current",
  keyOf: (change) => (change.type === "put" ? change.vm.name : change.type === "delete" ? change.name : ""),
  rowOf: (change) => (change.type === "put" ? change.vm : undefined),
  indexOf: ({ updatedIndex }) => updatedIndex,
  changes: vmChanges,
};

export function followKeys(
  stream: StreamFunction,
  clock: Clock,
  request: StreamRequestOf<"kv.watch">,
  options: FollowOptions,
): AsyncGenerator<KvChange> {
  return followTable(clock, watchedKeys, () => stream("kv.watch", request, options), options);
}

/** `timeoutMs` is asked for each opening. */
export function followVms(
  stream: StreamFunction,
  clock: Clock,
  request: StreamRequestOf<"vm.watch">,
  options: FollowOptions,
  timeoutMs: () => number | undefined = () => undefined,
): AsyncGenerator<VmChange> {
  const open = () => {
    const openingMs = timeoutMs();
    return stream("vm.watch", request, { ...options, ...(openingMs === undefined ? {} : { timeoutMs: openingMs }) });
  };
  return followTable(clock, watchedVms, open, options);
}

/** Of what happened between two streams, it tells what became of the rows; `current` comes once. */
async function* followTable<Change, Row>(
  clock: Clock,
  watched: Watched<Change, Row>,
  openStream: () => Promise<AsyncIterable<Change>>,
  options: FollowOptions,
): AsyncGenerator<Change> {
  const { isCurrent, keyOf, rowOf, indexOf } = watched;
  /** The index of each row that was yielded. */
  const seen = new Map<string, number>();
  let currentGiven = false;
  /** What is there, until all of it is known, when something was yielded before. */
  let present: Map<string, Row> | undefined;
  const open = () => {
    present = seen.size > 0 ? new Map() : undefined;
    return openStream();
  };
  for await (const change of reopened(clock, open, options)) {
    const row = rowOf(change);
    if (isCurrent(change)) {
      if (present !== undefined) yield* watched.changes(seen, present);
      present = undefined;
      if (!currentGiven) yield change;
      currentGiven = true;
    } else if (present !== undefined) {
      if (row === undefined) present.delete(keyOf(change));
      else present.set(keyOf(change), row);
    } else {
      if (row === undefined) seen.delete(keyOf(change));
      else seen.set(keyOf(change), indexOf(row));
      yield change;
    }
  }
}

async function* reopened<T>(
  clock: Clock,
  open: () => Promise<AsyncIterable<T>>,
  { signal }: FollowOptions,
): AsyncGenerator<T> {
  for (;;) {
    // The opening has retries and an end of its own: what fails there is for the caller.
    const output = await open();
    try {
      yield* output;
      throw new BlixardError("UNAVAILABLE", "the node ended the stream");
    } catch (error) {
      if (signal?.aborted || !isBlixardError(error) || !errorCodes[error.code].retryable) throw error;
    }
    await sleep(clock, reopenMs, signal);
  }
}
