/** The stream of the VMs, or of one of them, from the state of this node. */
import { type VmChange, vmChanges } from "@blixard/protocol";
import type { StreamHandlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { whileLed } from "./while-led.ts";

export function vmStreams(parts: Pick<NodeParts, "clock" | "raft" | "stateMachine">): Pick<StreamHandlers, "vm.watch"> {
  return { "vm.watch": async ({ name }, call) => watchVms(parts, name, whileLed(parts, call)) };
}

/**
 * Looks at the VMs whenever one of them changed: at the one that is named, or at all, which `limits.vmsMax` bounds. A
 * reader that is slow costs no memory for what it missed.
 */
export async function* watchVms(
  { stateMachine }: Pick<NodeParts, "stateMachine">,
  name: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<VmChange> {
  const touched = name === undefined ? undefined : [name];
  const seen = new Map<string, number>();
  for (let looked = -1; ; ) {
    const { changed } = await stateMachine.version.until((version) => version.changed.vms !== looked, { signal });
    const first = looked < 0;
    looked = changed.vms;
    for (const change of vmChanges(seen, stateMachine.state.vms, touched)) {
      signal.throwIfAborted();
      yield change;
    }
    if (first) yield { type: "current" };
  }
}
