/** Waiting until the duties of a node have something to do. */
import { type Clock, untilNextMs } from "@blixard/common";
import type { ClusterStateMachine, StateVersion } from "../cluster-state-machine.ts";

/** Index at which nodes or VMs changed last: what duties look at. */
export function dutyIndex(version: StateVersion): number {
  return Math.max(version.changed.nodes, version.changed.vms);
}

/**
 * Resolves when nodes or VMs changed since `seen`, when the other duties that wait for `intervalMs` look again too, or when
 * `signal` aborts; never rejects.
 */
export async function waitForDuty(
  context: { readonly clock: Clock; readonly stateMachine: ClusterStateMachine },
  seen: number,
  intervalMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { clock, stateMachine } = context;
  const moved = (next: StateVersion) => dutyIndex(next) !== seen;
  const delayMs = untilNextMs(clock, intervalMs);
  await stateMachine.version.until(moved, { signal, limit: { clock, delayMs } }).catch(() => {});
}
