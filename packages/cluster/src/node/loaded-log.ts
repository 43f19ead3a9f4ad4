/** A log that was read before Raft starts, by somebody who has to know where it stands. */
import type { LogContents, LogStore } from "@blixard/raft";

export interface LoadedLog {
  readonly term: number;
  readonly lastIndex: number;
  /** Gives what was read at the first `load`, and is the log itself in everything else. */
  readonly store: LogStore;
}

/** @throws STORAGE_CORRUPT */
export async function loadLog(log: LogStore): Promise<LoadedLog> {
  let contents: LogContents | undefined = await log.load();
  const { hardState, base, entries } = contents;
  const store: LogStore = {
    load: async () => {
      const loaded = contents ?? (await log.load());
      contents = undefined;
      return loaded;
    },
    append: (write) => log.append(write),
    compact: (to) => log.compact(to),
    reset: (to, state) => log.reset(to, state),
    close: () => log.close(),
  };
  return { term: hardState.term, lastIndex: base.index + entries.length, store };
}
