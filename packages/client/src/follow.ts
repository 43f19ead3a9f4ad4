/** The output of a VM and the keys of the cluster as they come, over streams that are opened again where one broke. */
import { BlixardError, type Clock, errorCodes, isBlixardError, sleep } from "@blixard/common";
import { type KvEntry, kvChanges, type StreamOutputOf, type StreamRequestOf } from "@blixard/protocol";
import type { StreamFunction } from "./call-types.ts";

export interface FollowOptions {
  readonly signal?: AbortSignal;
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

/** Of what happened between two streams, it tells what became of the keys; `current` comes once. */
export async function* followKeys(
  stream: StreamFunction,
  clock: Clock,
  request: StreamRequestOf<"kv.watch">,
  options: FollowOptions,
): AsyncGenerator<StreamOutputOf<"kv.watch">> {
  /** The index of each key that was told. */
  const seen = new Map<string, number>();
  let told = false;
  /** What is there, until all of it is known, when something was told before. */
  let present: Map<string, KvEntry> | undefined;
  const open = () => {
    present = seen.size > 0 ? new Map() : undefined;
    return stream("kv.watch", request, options);
  };
  for await (const change of reopened(clock, open, options)) {
    if (change.type === "current") {
      if (present !== undefined) yield* kvChanges(seen, present);
      present = undefined;
      if (!told) yield change;
      told = true;
    } else if (present !== undefined) {
      if (change.type === "put") present.set(change.entry.key, change.entry);
      else present.delete(change.key);
    } else {
      if (change.type === "put") seen.set(change.entry.key, change.entry.index);
      else seen.delete(change.key);
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
