/** What the handlers of the service work with. */
import { BlixardError, type Clock, type Logger, type Random } from "@blixard/common";
import type { NodeStatus } from "@blixard/protocol";
import type { RaftNode } from "@blixard/raft";
import type { VmManager } from "@blixard/vm-manager";
import type { CallScope } from "../calls/call-types.ts";
import type { PeerCalls } from "../calls/peer-calls.ts";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import type { ResolvedClusterNodeOptions } from "../options.ts";
import type { AddressBook } from "../peers/address-book.ts";
import type { PeerMemory } from "../peers/peer-promises.ts";
import type { BulkRouteView, ClusterTransport } from "../ports/cluster-transport.ts";
import type { Reservation } from "../scheduler/scheduler.ts";
import type { AppliedCommand } from "../state-machine/apply-command.ts";
import type { Sha256 } from "../state-machine/hash-chain.ts";
import type { NodeCertificates } from "./cert.ts";
import type { PendingJoins } from "./pending-joins.ts";

export interface ServiceContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly sha256: Sha256;
  readonly transport: ClusterTransport;
  readonly vmManager: VmManager;
  readonly stateMachine: ClusterStateMachine;
  readonly raft: RaftNode<AppliedCommand>;
  readonly options: ResolvedClusterNodeOptions;
  /** Cluster and incarnation of this node, before its own record has been applied too. */
  readonly identity: () => { readonly clusterId: string; readonly incarnation: number };
  /** What this node remembers of the promises of the others. */
  readonly peerMemory: PeerMemory;
  readonly addressBook: AddressBook;
  /** The calls of this node to others. */
  readonly peerCalls: PeerCalls;
  /** Absent where no TLS is spoken. */
  readonly certificates?: NodeCertificates;
  readonly bulkRoutes?: () => readonly BulkRouteView[];
  readonly storageHealth: () => NodeStatus["storage"];
  /** Room on nodes that the leader has promised and that no record shows yet. */
  readonly reservations: Set<Reservation>;
  /** Machines that wait for an operator; known to the leader. */
  readonly pendingJoins: PendingJoins;
}

/** A scope for commands that are safe to repeat and need no memory of their request id. */
export function unremembered(call: CallScope): CallScope {
  return { ...call, meta: { ...call.meta, requestId: "" } };
}

/** Nodes and images have no index that a caller could have seen. @throws UNSUPPORTED */
export function refuseIfMatch(call: CallScope, what: string): void {
  if (call.meta.ifMatchIndex === undefined) return;
  throw new BlixardError("UNSUPPORTED", `${what} cannot be changed with an expected index`, {
    outcome: "not_applied",
    hint: "Leave out --if-match; it works for keys and VMs.",
  });
}
