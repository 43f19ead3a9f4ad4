/** Tunables of a cluster node, with their defaults. */
import { assertAtMost, assertBelow, firstAddresses, isRelayUrl } from "@blixard/common";
import { featureLevels, frameBytesMin, limits } from "@blixard/protocol";
import { type RaftNodeOptions, raftDefaults } from "@blixard/raft";
import { type MemberBudgetOptions, memberBudgetDefaults } from "./peers/member-budgets.ts";
import { type SchedulerOptions, schedulerDefaults } from "./scheduler/scheduler-types.ts";

/** How a node joins that has an address but no ticket. */
export type JoinPolicy = "ticket" | "approve" | "loopback";

export interface ClusterNodeOptions {
  readonly nodeId: number;
  /** Release of this binary, shown to people. */
  readonly version: string;
  /** The feature level that this binary understands and reports. Default: that of this release. */
  readonly featureLevel?: number;
  /** `host:port` under which others reach this node. Default: what the transport is bound to. Its relay comes to these. */
  readonly advertisedAddresses?: readonly string[];
  /**
   * `loopback` (default): at once on loopback with a proof for `LocalJoins`, else when an operator has accepted the machine.
   * `approve`: always when an operator has accepted it. `ticket`: never.
   */
  readonly joinPolicy?: JoinPolicy;
  /** Passed to RaftNode. */
  readonly raft?: Omit<RaftNodeOptions, "id" | "bootstrap" | "forwardProposals">;
  readonly scheduler?: SchedulerOptions;
  /** What a member may take from this node. */
  readonly memberBudgets?: MemberBudgetOptions;
  /** Milliseconds between two rounds of the leader's duties when nothing happens. Default 500. */
  readonly leaderIntervalMs?: number;
  /** Milliseconds without a sign of life after which a node takes no new VMs. Default 3,000. */
  readonly reachableWithinMs?: number;
  /** Milliseconds of being unreachable after which the VMs of a node are shown as Unknown. Default 5,000. */
  readonly unknownAfterMs?: number;
  /** Milliseconds that one attempt to reach the leader may take before another is made. Default 3,000. */
  readonly forwardAttemptMs?: number;
  /** Attempts to reach the leader within one call. Default 100. */
  readonly forwardAttemptsMax?: number;
  /** Entries that a learner may lag behind the commit index and still be promoted. Default 64. */
  readonly promotionLagEntries?: number;
  /** Milliseconds without a leader after which peers are asked whether this node was removed. Default 3,000. */
  readonly removalProbeMs?: number;
  /** Milliseconds between two looks for members that are not connected, doubling up to 16 times that. Default 1,000. */
  readonly discoveryMs?: number;
  /** Milliseconds between two tries of a background call that failed. Default 200, doubling up to 16 times that. */
  readonly retryDelayMs?: number;
  /** Milliseconds without a leader after which a node refuses tokens and keys of people. Default 10,000. */
  readonly rightsWithoutLeaderMs?: number;
  /**
   * Milliseconds for which a node may run VMs that move, since it asked the leader last. Default 10,000. This and the next two
   * are the same on each node: a leader waits as long as the one before has promised.
   */
  readonly leaseMs?: number;
  /** Milliseconds after the end of a lease within which such VMs have ended. Default 5,000. */
  readonly leaseGraceMs?: number;
  /** Milliseconds by which two clocks may differ in the time of a lease and its grace. Default 1,500: a tenth. */
  readonly leaseDriftMs?: number;
  /** Milliseconds between two renewals of a lease. Default 2,000. */
  readonly leaseRenewMs?: number;
  /** Entries whose state hashes are kept. Default 10,000. */
  readonly hashWindow?: number;
  /** Entries over which a request id is remembered; the same on each node. Default 10,000. */
  readonly requestWindow?: number;
}

export interface ResolvedClusterNodeOptions extends Required<Omit<ClusterNodeOptions, "advertisedAddresses">> {
  /** Changes when the node finds a relay. */
  readonly advertisedAddresses: () => readonly string[];
}

export const clusterDefaults = {
  leaderIntervalMs: 500,
  reachableWithinMs: 3_000,
  unknownAfterMs: 5_000,
  forwardAttemptMs: 3_000,
  forwardAttemptsMax: 100,
  promotionLagEntries: 64,
  removalProbeMs: 3_000,
  discoveryMs: 1_000,
  retryDelayMs: 200,
  rightsWithoutLeaderMs: 10_000,
  leaseMs: 10_000,
  leaseGraceMs: 5_000,
  leaseDriftMs: 1_500,
  leaseRenewMs: 2_000,
  hashWindow: 10_000,
  requestWindow: limits.requestWindowMax,
} as const;

type Numbers<Defaults> = { readonly [Name in keyof Defaults]: number };
type RaftNumbers = Pick<typeof raftDefaults, "appendMessageBytesMax" | "snapshotChunkBytes" | "electionTimeoutMs"> &
  Pick<typeof raftDefaults, "heartbeatIntervalMs" | "trailingEntries">;

/** Fails where defaults contradict each other, those of Raft, or the limits of the contract. */
export function assertClusterDefaults(of: Numbers<typeof clusterDefaults>, raft: Numbers<RaftNumbers>): void {
  const { appendMessageBytesMax, snapshotChunkBytes, electionTimeoutMs, heartbeatIntervalMs, trailingEntries } = raft;
  assertAtMost(
    {
      "2 * appendMessageBytesMax": 2 * appendMessageBytesMax,
      "2 * snapshotChunkBytes": 2 * snapshotChunkBytes,
      "2 * commandBytesMax": 2 * limits.commandBytesMax,
    },
    { frameBytesMin },
    "a message of Raft fits into the smallest frame, with what stands beside each entry",
  );
  const { leaderIntervalMs, reachableWithinMs, unknownAfterMs, forwardAttemptMs, removalProbeMs } = of;
  const { rightsWithoutLeaderMs } = of;
  assertBelow({ leaderIntervalMs, heartbeatIntervalMs }, { reachableWithinMs }, "a node that answers is reachable");
  assertBelow({ reachableWithinMs }, { unknownAfterMs }, "a node is unreachable before its VMs are unknown");
  assertBelow(
    { electionTimeoutMs },
    { forwardAttemptMs, removalProbeMs, rightsWithoutLeaderMs },
    "an election is no reason to give up",
  );
  const { leaseMs, leaseGraceMs, leaseDriftMs, leaseRenewMs } = of;
  assertBelow({ "3 * leaseRenewMs": 3 * leaseRenewMs }, { leaseMs }, "one renewal that fails costs no lease");
  assertBelow({ "2 * electionTimeoutMs": 2 * electionTimeoutMs }, { leaseMs }, "an election costs no lease");
  assertAtMost(
    { "(leaseMs + leaseGraceMs) / 10": (leaseMs + leaseGraceMs) / 10 },
    { leaseDriftMs },
    "clocks may differ by a tenth",
  );
  const { promotionLagEntries, requestWindow } = of;
  assertBelow({ promotionLagEntries }, { trailingEntries }, "a learner that is promoted needs no snapshot");
  assertAtMost({ requestWindow }, { requestWindowMax: limits.requestWindowMax }, "the state remembers no more ids");
}

assertClusterDefaults(clusterDefaults, raftDefaults);

export function resolveClusterNodeOptions(
  options: ClusterNodeOptions,
  transportAddresses: () => readonly string[],
): ResolvedClusterNodeOptions {
  const { advertisedAddresses: given, ...rest } = options;
  const all = () => {
    const bound = transportAddresses();
    return given === undefined ? bound : [...given, ...bound.filter(isRelayUrl)];
  };
  return {
    featureLevel: featureLevels.own,
    advertisedAddresses: () => firstAddresses(all(), limits.addressesPerNodeMax),
    joinPolicy: "loopback",
    raft: {},
    scheduler: schedulerDefaults,
    memberBudgets: memberBudgetDefaults,
    ...clusterDefaults,
    ...rest,
  };
}
