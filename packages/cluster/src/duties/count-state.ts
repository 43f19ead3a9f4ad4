/** Keeps the gauges of nodes and VMs equal to the replicated state. */
import type { VmPhase } from "@blixard/protocol";
import type { ClusterStateMachine, StateVersion } from "../cluster-state-machine.ts";
import type { ClusterMetrics } from "../metrics.ts";
import { vmIndexOf } from "../scheduler/vm-index.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";

/** Runs until `signal` aborts. Never rejects. */
export function countState(
  loop: LoopDeps,
  stateMachine: ClusterStateMachine,
  metrics: ClusterMetrics,
  signal: AbortSignal,
): Promise<void> {
  let seen = -1;
  const phases = new Set<VmPhase>();
  const changeOf = ({ changed }: StateVersion) => Math.max(changed.vms, changed.nodes);
  return runLoop(loop, "count-state", signal, async () => {
    seen = changeOf(await stateMachine.version.until((next) => changeOf(next) !== seen, { signal }));
    metrics.members.set(stateMachine.state.nodes.size);
    const counts = vmIndexOf(stateMachine.state).phases;
    for (const phase of counts.keys()) phases.add(phase);
    for (const phase of phases) metrics.vms.set(counts.get(phase) ?? 0, { phase });
  });
}
