/** The stream of the keys under a prefix, from the state of this node. */
import { kvChanges, type StreamOutputOf } from "@blixard/protocol";
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
    const { kv } = stateMachine.state;
    const present = [...kv.values()].filter(({ key }) => key.startsWith(prefix));
    yield* kvChanges(seen, present);
    if (first) yield { type: "current" };
  }
}
