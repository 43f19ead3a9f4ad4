/** The duties of a node, which run until it stops. */
import { type BlixardError, pauseFor, Watch, withTimeLimit } from "@blixard/common";
import type { NodeRecord } from "@blixard/protocol";
import type { CallRouter } from "../calls/call-router.ts";
import type { ClusterNodeDeps } from "../cluster-node-types.ts";
import type { LoopDeps } from "../duties/background-loop.ts";
import { countState } from "../duties/count-state.ts";
import { DesiredVms, userDataOpener } from "../duties/desired-vms.ts";
import { DiskCopyDuty } from "../duties/disk-copy-duty.ts";
import { runImageDuty } from "../duties/image-duty.ts";
import { LeaderDuties } from "../duties/leader-duties.ts";
import { MembershipDuty } from "../duties/membership-duty.ts";
import { runNetworkDuty } from "../duties/network-duty.ts";
import { OwnKeyDuty } from "../duties/own-key-duty.ts";
import { OwnTokenDuty } from "../duties/own-token-duty.ts";
import { QueueDuty } from "../duties/queue-duty.ts";
import { runResealDuty } from "../duties/reseal-duty.ts";
import { VmDuty } from "../duties/vm-duty.ts";
import { runVolumeDuty } from "../duties/volume-duty.ts";
import { MoveDuty } from "../leases/move-duty.ts";
import { OwnLeaseDuty } from "../leases/own-lease-duty.ts";
import { stopped } from "../node-lifecycle.ts";
import type { NodeParts } from "../node-parts.ts";
import { OperationsDuty } from "../operations/operations-duty.ts";
import type { RaftGate } from "../peers/raft-gate.ts";

const readTryMs = 5_000;

export interface DutiesDeps {
  readonly deps: Pick<ClusterNodeDeps, "finders" | "store" | "onMembers" | "ownToken" | "keyRotation">;
  readonly parts: NodeParts;
  readonly router: CallRouter;
  readonly gate: Pick<RaftGate, "isVoter">;
  /** What the join answer said about the others; empty for a node that knows them from its state. */
  readonly seedNodes: readonly NodeRecord[];
  readonly onRemoved: (error: BlixardError) => void;
}

export interface Duties {
  /** Becomes true when the state here is at least as new as this start. */
  readonly caughtUp: Watch<boolean>;
  /** Absent where nobody keeps the token of this node. */
  readonly ownToken: OwnTokenDuty | undefined;
  readonly ownLease: Pick<OwnLeaseDuty, "takeLong">;
  stop(): Promise<void>;
}

export function startDuties(duties: DutiesDeps): Duties {
  const { deps, parts, router } = duties;
  const { clock, logger, metrics, options, stateMachine } = parts;
  const stopping = new AbortController();
  const { signal } = stopping;
  const caughtUp = new Watch(false);
  const untilCaughtUp = async (waiting: AbortSignal): Promise<void> => {
    await caughtUp.until((value) => value, { signal: waiting });
  };
  const loop: LoopDeps = { clock, logger, metrics, retryDelayMs: options.retryDelayMs };
  const membership = new MembershipDuty({
    ...duties,
    loop,
    metrics,
    vmManager: parts.vmManager,
    finders: deps.finders ?? [],
    store: deps.store,
    isVoter: (nodeId) => duties.gate.isVoter(nodeId),
    onMembers: (nodes) => keepMembers(duties, nodes),
    caughtUp: untilCaughtUp,
  });
  const { ownToken: store, keyRotation: rotation } = deps;
  const ownToken =
    store === undefined ? undefined : new OwnTokenDuty({ parts, router, loop, store, caughtUp: untilCaughtUp });
  const desired = new DesiredVms(stateMachine, options.nodeId, userDataOpener(parts));
  const ownLease = new OwnLeaseDuty({ parts, router, desired, loop, starts: deps.store?.starts ?? 0 });
  const running = Promise.all([
    parts.leaderContact.run(signal),
    ownToken?.run(signal),
    rotation === undefined ? undefined : new OwnKeyDuty({ parts, router, loop, rotation }).run(signal),
    catchUp(parts, caughtUp, signal),
    new LeaderDuties(parts).run(signal),
    new MoveDuty(parts).run(signal),
    new QueueDuty(parts).run(signal),
    runResealDuty(parts, signal),
    new OperationsDuty(parts).run(signal),
    ownLease.run(signal),
    new VmDuty(parts, desired, router, loop, untilCaughtUp).run(signal),
    new DiskCopyDuty(parts, router, loop, untilCaughtUp).run(signal),
    runVolumeDuty(parts, router, loop, untilCaughtUp, signal),
    runNetworkDuty(parts, loop, untilCaughtUp, signal),
    runImageDuty(parts, router, loop, untilCaughtUp, signal),
    membership.run(signal),
    countState(loop, stateMachine, metrics, signal),
  ]);
  return {
    caughtUp,
    ownToken,
    ownLease,
    stop: async () => {
      stopping.abort(stopped());
      await running;
    },
  };
}

/** Reads once through the leader: from then on the state here is at least as new as this start. */
async function catchUp(
  { clock, raft, options }: Pick<NodeParts, "clock" | "raft" | "options">,
  caughtUp: Watch<boolean>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted && !caughtUp.value) {
    try {
      await withTimeLimit(clock, readTryMs, signal, (limited) => raft.readIndex({ signal: limited }));
      caughtUp.set(true);
    } catch {
      // No leader yet, or no quorum: what is not known to be true is not acted on.
      await pauseFor(clock, options.retryDelayMs, signal);
    }
  }
}

function keepMembers({ deps, parts }: DutiesDeps, nodes: readonly NodeRecord[]): void {
  const { nodeId } = parts.options;
  const own = nodes.find((node) => node.id === nodeId);
  if (own === undefined) return;
  const { role, incarnation } = own;
  deps.onMembers?.({ clusterId: parts.identity().clusterId, nodeId, role, incarnation, nodes });
}
