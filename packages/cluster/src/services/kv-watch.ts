/** The stream of the keys under a prefix, from the state of this node. */
import { kvChanges, type StreamOutputOf } from "@blixard/protocol";
import type { StreamHandlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { whileLed } from "./while-led.ts";

/** What these methods use of the node. */
type KvWatchParts = Pick<NodeParts, "clock" | "raft" | "stateMachine">;

type KvChange = StreamOutputOf<"kv.watch">;

export function kvStreams(parts: KvWatchParts): Pick<StreamHandlers, "kv.watch"> {
  return { "kv.watch": async ({ prefix }, call) => watchKeys(parts, prefix, whileLed(parts, call)) };
}

/**
 * Yields the changes of the keys under a prefix. It reads the keys that changed since it last looked, or all of them
 * when too many changed to be remembered, so a slow reader costs no memory for what it missed.
 */
export async function* watchKeys(
  { stateMachine }: Pick<NodeParts, "stateMachine">,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<KvChange> {
  const seen = new Map<string, number>();
  for (let looked = -1; ; ) {
    const { changed } = await stateMachine.version.until((version) => version.changed.kv !== looked, { signal });
    const first = looked < 0;
    const { kv } = stateMachine.state;
    const keys = stateMachine.keysSince("kv", looked) ?? new Set([...seen.keys(), ...kv.keys()]);
    looked = changed.kv;
    const touched = [...keys].filter((key) => key.startsWith(prefix));
    for (const change of kvChanges(seen, kv, touched)) {
      signal.throwIfAborted();
      yield change;
    }
    if (first) yield { type: "current" };
  }
}
