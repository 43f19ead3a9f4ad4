/** Which observations of the manager of this node the state does not show yet. */
import type { VmObservation } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { clusterLevel } from "../state-machine/level.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { isNews, reportable } from "./observation-news.ts";

/** Follows both sides, so that only VMs are compared of which one side has changed. */
export class UnreportedVms {
  readonly #parts: Pick<NodeParts, "stateMachine" | "vmManager" | "options">;
  /** Those that had news when they were looked at last. */
  readonly #waiting = new Set<string>();
  #version = -1;
  #index = -1;
  #level = -1;

  constructor(parts: Pick<NodeParts, "stateMachine" | "vmManager" | "options">) {
    this.#parts = parts;
  }

  find(): VmObservation[] {
    const { stateMachine, vmManager, options } = this.#parts;
    const { observations } = vmManager;
    const { state } = stateMachine;
    for (const vmId of this.#changed()) {
      if (newsOf(state, observations.get(vmId), options.nodeId) === undefined) this.#waiting.delete(vmId);
      else this.#waiting.add(vmId);
    }
    return [...this.#waiting].flatMap((vmId) => newsOf(state, observations.get(vmId), options.nodeId) ?? []);
  }

  #changed(): Iterable<string> {
    const { stateMachine, vmManager } = this.#parts;
    const { state, version } = stateMachine;
    const { observations } = vmManager;
    const level = clusterLevel(state);
    const observed = observations.changedSince(this.#version);
    const names = stateMachine.keysSince("vms", this.#index);
    const isFollowed = level === this.#level && observed !== undefined && names !== undefined;
    this.#version = observations.version.value;
    this.#index = version.value.appliedIndex;
    this.#level = level;
    if (!isFollowed) return [...observations.value.keys()];
    return new Set([...observed, ...[...names].flatMap((name) => state.vms.get(name)?.vmId ?? [])]);
  }
}

/** What the record does not show of an observation of `nodeId`, which owns the VM; undefined when there is nothing. */
export function newsOf(
  state: ClusterState,
  observation: VmObservation | undefined,
  nodeId: number,
): VmObservation | undefined {
  if (observation === undefined) return undefined;
  const seen = reportable(observation, clusterLevel(state));
  const vm = state.vms.get(state.vmNames.get(seen.vmId) ?? "");
  if (vm === undefined || vm.node !== nodeId || vm.fencingEpoch !== seen.fencingEpoch) return undefined;
  return isNews(vm, seen, nodeId) ? seen : undefined;
}
