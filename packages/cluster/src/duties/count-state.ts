/** Keeps the gauges of nodes and VMs equal to the replicated state. */
import type { ClusterStateMachine, StateVersion } from "../cluster-state-machine.ts";
import type { ClusterMetrics } from "../metrics.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";

/** Runs until `signal` aborts. Never rejects. */
export function countState(
  loop: LoopDeps,
  stateMachine: ClusterStateMachine,
  metrics: ClusterMetrics,
  signal: AbortSignal,
): Promise<void> {
  let seen = -1;
  const phases = new Set<string>();
  const changeOf = ({ changed }: StateVersion) => Math.max(changed.vms, changed.nodes);
  return runLoop(loop, "count-state", signal, async () => {
    seen = changeOf(await stateMachine.version.until((next) => changeOf(next) !== seen, { signal }));
    const { nodes, vms } = stateMachine.state;
    metrics.members.set(nodes.size);
    const counts = new Map<string, number>();
    for (const vm of vms.values()) counts.set(vm.phase, (counts.get(vm.phase) ?? 0) + 1);
    for (const phase of counts.keys()) phases.add(phase);
    for (const phase of phases) metrics.vms.set(counts.get(phase) ?? 0, { phase });
  });
}
