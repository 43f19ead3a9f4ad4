/**
 * Connects the replicated state with the VM manager of this node: what the state wants of the VMs that this node owns
 * goes down, what the manager observed goes up to the leader.
 *
 * Nothing goes down before the state was caught up with a leader since the start of the process. The state on disk may
 * be old: a VM that it wants here may have been given away or deleted meanwhile. Until then the manager only adopts.
 */
import { assertBelow, firstOf } from "@blixard/common";
import { limits, type VmObservation, type VmRecord, volumesOf } from "@blixard/protocol";
import type { DesiredVm } from "@blixard/vm-manager";
import type { CallRouter } from "../calls/call-router.ts";
import type { NodeParts } from "../node-parts.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { secretContext } from "../state-machine/secret.ts";
import { sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { policyOf } from "../state-machine/vm-move.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";
import { isNews, observationBytesMax, reportable } from "./observation-news.ts";
import { report } from "./report.ts";

/** What this duty uses of the node. */
type VmDutyParts = Pick<NodeParts, "random" | "options" | "vmManager" | "stateMachine" | "sealing" | "identity">;

/** Observations in one command, so that it stays far below the largest command. */
const batchMax = 48;

export class VmDuty {
  readonly #parts: VmDutyParts;
  readonly #router: Pick<CallRouter, "call">;
  readonly #loop: LoopDeps;
  readonly #caughtUp: (signal: AbortSignal) => Promise<void>;

  constructor(
    parts: VmDutyParts,
    router: Pick<CallRouter, "call">,
    loop: LoopDeps,
    caughtUp: (signal: AbortSignal) => Promise<void>,
  ) {
    this.#parts = parts;
    this.#router = router;
    this.#loop = loop;
    this.#caughtUp = caughtUp;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#caughtUp(signal).catch(() => {});
    if (signal.aborted) return;
    await Promise.all([this.#runDesired(signal), this.#runObserved(signal)]);
  }

  #runDesired(signal: AbortSignal): Promise<void> {
    const { stateMachine, vmManager, options } = this.#parts;
    let seen = -1;
    return runLoop(this.#loop, "vm-desired", signal, async () => {
      const { changed } = await stateMachine.version.until((next) => changeIndex(next.changed) !== seen, { signal });
      seen = changeIndex(changed);
      vmManager.setDesired(desiredVms(stateMachine.state, options.nodeId, userDataOpener(this.#parts)));
    });
  }

  #runObserved(signal: AbortSignal): Promise<void> {
    const { stateMachine, vmManager, options } = this.#parts;
    return runLoop(this.#loop, "vm-observe", signal, async () => {
      const seen = vmManager.observations.value;
      const version = stateMachine.version.value;
      const news = unreported(stateMachine.state, seen, options.nodeId).slice(0, batchMax);
      if (news.length === 0) {
        await this.#nextChange(seen, changeIndex(version.changed), signal);
        return;
      }
      const request = { nodeId: options.nodeId, observations: news };
      await report(this.#parts, this.#router, "vm.observe", request, signal);
    });
  }

  async #nextChange(seen: ReadonlyMap<string, VmObservation>, seenIndex: number, signal: AbortSignal): Promise<void> {
    const { stateMachine, vmManager } = this.#parts;
    await firstOf(signal, (until) => [
      vmManager.observations.until((value) => value !== seen, { signal: until }),
      stateMachine.version.until((next) => changeIndex(next.changed) !== seenIndex, { signal: until }),
    ]);
  }
}

type Changed = Readonly<Record<"vms" | "images" | "secrets", number>>;

function changeIndex(changed: Changed): number {
  return Math.max(changed.vms, changed.images, changed.secrets);
}

type OpenerOf = (vmId: string) => NonNullable<DesiredVm["openUserData"]>;

/** Opens user data from the state as it is then: undefined while the copy here is not sealed to this node. */
export function userDataOpener({
  stateMachine,
  sealing,
  identity,
}: Pick<NodeParts, "stateMachine" | "sealing" | "identity">): OpenerOf {
  return (vmId) => () => {
    const sealed = stateMachine.state.secrets.get(vmId);
    return sealed === undefined ? undefined : sealing.open(sealed, secretContext(identity().clusterId, vmId));
  };
}

/** The VMs that `nodeId` owns, as the manager wants to know them. */
export function desiredVms(state: ClusterState, nodeId: number, openerOf: OpenerOf): DesiredVm[] {
  const desired: DesiredVm[] = [];
  for (const vm of sortedRecords(state, "vms")) {
    const image = state.images.get(vm.spec.image);
    const isOld = hasOldCopy(vm, nodeId);
    if ((vm.node !== nodeId && !isOld) || image === undefined) continue;
    const { vmId, name, spec, fencingEpoch } = vm;
    if (isOld) {
      desired.push({ vmId, name, spec, desired: "deleted", fencingEpoch, image });
      continue;
    }
    // What is started from now on has to be what was asked for.
    const { onPartition } = vm.nextLossPolicy?.policy ?? policyOf(vm);
    const needsLease = onPartition === "stop";
    const { moved } = vm;
    const came = moved?.node === nodeId ? moved : undefined;
    const madeDisks = [...new Set([...(vm.disks?.node === nodeId ? vm.disks.names : []), ...(came?.names ?? [])])];
    const volumeIds = new Map(volumesOf(spec).map((volume) => [volume, state.volumes.get(volume)?.volumeId]));
    const { disksIndex = 0 } = vm;
    const wanted = { desired: vm.desired, fencingEpoch, image, needsLease, madeDisks, volumeIds, disksIndex };
    const secret = state.secrets.has(vmId) ? { openUserData: openerOf(vmId) } : {};
    const copied = came === undefined ? {} : { copyEpoch: came.epoch };
    desired.push({ vmId, name, spec, ...wanted, ...secret, ...copied, cards: vm.cards ?? [] });
  }
  return desired;
}

/** Whether the node has disks of a VM that runs elsewhere, from copies of them. */
export function hasOldCopy({ node, moved, phase }: VmRecord, nodeId: number): boolean {
  return node !== nodeId && moved?.leftOn.includes(nodeId) === true && (phase === "Running" || phase === "Paused");
}

/** The observations of the manager that the state does not show yet, of the VMs that this node owns. */
export function unreported(
  state: ClusterState,
  observations: ReadonlyMap<string, VmObservation>,
  nodeId: number,
): VmObservation[] {
  const news: VmObservation[] = [];
  const level = clusterLevel(state);
  for (const observation of observations.values()) {
    const seen = reportable(observation, level);
    const name = state.vmNames.get(seen.vmId);
    const vm = name === undefined ? undefined : state.vms.get(name);
    if (vm === undefined || vm.node !== nodeId || vm.fencingEpoch !== seen.fencingEpoch) continue;
    if (isNews(vm, seen, nodeId)) news.push(seen);
  }
  return news;
}

assertBelow(
  { "batchMax * observationBytesMax": batchMax * observationBytesMax },
  { commandBytesMax: limits.commandBytesMax },
  "one command holds a batch of observations",
);
