/** A log that was read before Raft starts, by somebody who has to know where it stands. */
import type { LogContents, LogRepairSource, LogStore, SnapshotStore } from "@blixard/raft";

export interface LoadedLog {
  readonly end: { readonly term: number; readonly lastIndex: number };
  /** Gives what was read at the first `load`, and is the log itself in everything else. */
  readonly store: LogStore;
}

/** @throws STORAGE_CORRUPT */
export async function loadLog(
  { log, snapshots }: { readonly log: LogStore; readonly snapshots: SnapshotStore },
  repairFrom: LogRepairSource,
): Promise<LoadedLog> {
  let contents: LogContents | undefined = await log.load({ repairFrom, snapshot: await snapshots.latest() });
  const { hardState, base, entries } = contents;
  const store: LogStore = {
    load: async (options) => {
      const loaded = contents ?? (await log.load(options));
      contents = undefined;
      return loaded;
    },
    append: (write) => log.append(write),
    compact: (to) => log.compact(to),
    reset: (to, state) => log.reset(to, state),
    close: () => log.close(),
  };
  return { end: { term: hardState.term, lastIndex: base.index + entries.length }, store };
}
