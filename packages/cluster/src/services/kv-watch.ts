/** The stream of the keys under a prefix, from the state of this node. */
import type { KvEntry, StreamOutputOf } from "@blixard/protocol";
import type { ServiceContext } from "./service-context.ts";
import type { StreamHandlers } from "./stream-router.ts";

type KvChange = StreamOutputOf<"kv.watch">;

export function kvStreams(context: ServiceContext): Pick<StreamHandlers, "kv.watch"> {
  return { "kv.watch": async ({ prefix }, { signal }) => watchKeys(context, prefix, signal) };
}

/** Looks at all keys whenever one has changed, so that a reader that is slow costs no memory for what it missed. */
async function* watchKeys(context: ServiceContext, prefix: string, signal: AbortSignal): AsyncGenerator<KvChange> {
  const { stateMachine } = context;
  const seen = new Map<string, number>();
  for (let looked = -1; ; ) {
    const { changed } = await stateMachine.version.until((version) => version.changed.kv !== looked, { signal });
    const first = looked < 0;
    looked = changed.kv;
    for (const change of changesSince(seen, stateMachine.state.kv, prefix)) yield change;
    if (first) yield { type: "current" };
  }
}

/** In the order in which they were written; what is deleted comes first. `seen` becomes what is there now. */
function changesSince(seen: Map<string, number>, kv: ReadonlyMap<string, KvEntry>, prefix: string): KvChange[] {
  const changes: KvChange[] = [];
  for (const key of seen.keys()) {
    if (kv.has(key)) continue;
    seen.delete(key);
    changes.push({ type: "delete", key });
  }
  const written = [...kv.values()].filter(({ key, index }) => key.startsWith(prefix) && seen.get(key) !== index);
  for (const entry of written.sort((a, b) => a.index - b.index)) {
    seen.set(entry.key, entry.index);
    changes.push({ type: "put", entry });
  }
  return changes;
}
