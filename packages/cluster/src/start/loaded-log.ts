/** A log that was read before Raft starts, by somebody who has to know where it stands. */
import type { LogContents, LogLoadOptions, LogStore, SnapshotStore } from "@blixard/raft";

export interface LoadedLog {
  readonly end: { readonly term: number; readonly lastIndex: number };
  /** The entry at the end. */
  readonly lastEntry: { readonly index: number; readonly term: number };
  /** Gives what was read at the first `load`, and is the log itself in everything else. */
  readonly store: LogStore;
}

/** @throws STORAGE_CORRUPT */
export async function loadLog(
  { log, snapshots }: { readonly log: LogStore; readonly snapshots: SnapshotStore },
  options: Pick<LogLoadOptions, "repairFrom" | "trailingEntries">,
): Promise<LoadedLog> {
  let contents: LogContents | undefined = await log.load({ ...options, snapshot: await snapshots.latest() });
  const { hardState, base, entries } = contents;
  const store: LogStore = {
    load: async (again) => {
      const loaded = contents ?? (await log.load(again));
      contents = undefined;
      return loaded;
    },
    append: (write) => log.append(write),
    compact: (to) => log.compact(to),
    reset: (to, state) => log.reset(to, state),
    close: () => log.close(),
  };
  const lastIndex = base.index + entries.length;
  const lastEntry = { index: lastIndex, term: entries.at(-1)?.term ?? base.term };
  return { end: { term: hardState.term, lastIndex }, lastEntry, store };
}
