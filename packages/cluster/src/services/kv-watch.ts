/** The stream of the keys under a prefix, from the state of this node. */
import { kvChanges, type StreamOutputOf } from "@blixard/protocol";
import type { StreamHandlers } from "../calls/call-types.ts";
import type { ServiceContext } from "./service-context.ts";
import { whileLed } from "./while-led.ts";

type KvChange = StreamOutputOf<"kv.watch">;

export function kvStreams(context: ServiceContext): Pick<StreamHandlers, "kv.watch"> {
  return { "kv.watch": async ({ prefix }, call) => watchKeys(context, prefix, whileLed(context, call)) };
}

/**
 * Looks at the keys that changed since it looked last, or at all when those are too many to be known, so that a reader that
 * is slow costs no memory for what it missed.
 */
export async function* watchKeys(
  { stateMachine }: Pick<ServiceContext, "stateMachine">,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<KvChange> {
  const seen = new Map<string, number>();
  for (let looked = -1; ; ) {
    const { changed } = await stateMachine.version.until((version) => version.changed.kv !== looked, { signal });
    const first = looked < 0;
    const { kv } = stateMachine.state;
    const keys = stateMachine.kvKeysSince(looked) ?? new Set([...seen.keys(), ...kv.keys()]);
    looked = changed.kv;
    const touched = [...keys].filter((key) => key.startsWith(prefix));
    for (const change of kvChanges(seen, kv, touched)) {
      signal.throwIfAborted();
      yield change;
    }
    if (first) yield { type: "current" };
  }
}
