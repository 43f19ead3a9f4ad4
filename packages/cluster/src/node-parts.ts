/**
 * What a running node is made of. A handler, a step of a call or a duty names the parts that it uses, for example
 * `Pick<NodeParts, "stateMachine" | "proposals">`, so that a test gives it these and no others.
 */
import type { Clock, Logger, Random } from "@blixard/common";
import type { CommandBody, NodeStatus, TicketCrypto } from "@blixard/protocol";
import type { RaftNode } from "@blixard/raft";
import type { VmManager } from "@blixard/vm-manager";
import type { CallScope } from "./calls/call-types.ts";
import type { LeaderContact } from "./calls/leader-contact.ts";
import type { PeerCalls } from "./calls/peer-calls.ts";
import type { ClusterStateMachine } from "./cluster-state-machine.ts";
import type { LeaseBook } from "./leases/lease-book.ts";
import type { ClusterMetrics } from "./metrics.ts";
import type { ResolvedClusterNodeOptions } from "./options.ts";
import type { AddressBook } from "./peers/address-book.ts";
import type { MemberBudgets } from "./peers/member-budgets.ts";
import type { PeerPromises } from "./peers/peer-promises.ts";
import type { BulkRouteView, ClusterTransport } from "./ports/cluster-transport.ts";
import type { KeyRotation } from "./ports/key-rotation.ts";
import type { LocalJoins } from "./ports/local-joins.ts";
import type { NodeCertificates } from "./ports/node-certificates.ts";
import type { NodeSignatures } from "./ports/node-signatures.ts";
import type { SecretSealing } from "./ports/secret-sealing.ts";
import type { Reservation } from "./scheduler/usage.ts";
import type { AppliedCommand } from "./state-machine/apply-command.ts";
import type { Sha256 } from "./state-machine/hash-chain.ts";

export interface NodeParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: ClusterMetrics;
  readonly sha256: Sha256;
  readonly ticketCrypto: TicketCrypto;
  readonly options: ResolvedClusterNodeOptions;
  readonly identity: () => NodeIdentity;
  readonly transport: ClusterTransport;
  readonly vmManager: VmManager;
  readonly certificates: NodeCertificates;
  readonly localJoins: LocalJoins;
  readonly signatures: NodeSignatures;
  readonly sealing: SecretSealing;
  /** Absent where the node keeps the key that it has. */
  readonly keyRotation: KeyRotation | undefined;
  readonly bulkRoutes: () => readonly BulkRouteView[];
  readonly storageHealth: () => NodeStatus["storage"];
  readonly stateMachine: ClusterStateMachine;
  readonly raft: RaftNode<AppliedCommand>;
  /** How a decision of this node gets into the log. */
  readonly proposals: Proposals;
  readonly leaderContact: LeaderContact;
  /** What this node knows of the leases of all nodes while it leads. */
  readonly leases: LeaseBook;
  /** The room that this leader has promised on nodes and that no record shows yet. */
  readonly reservations: Set<Reservation>;
  /** The calls of this node to others. */
  readonly peerCalls: PeerCalls;
  /** What this node heard the others promise. */
  readonly peerPromises: PeerPromises;
  readonly addressBook: AddressBook;
  /** What members may take from this node. */
  readonly budgets: MemberBudgets;
}

/** The cluster of this node, and how often that has admitted it, before its own record has been applied too. */
export interface NodeIdentity {
  readonly clusterId: string;
  readonly incarnation: number;
}

export interface Proposed<Value> {
  readonly index: number;
  readonly term: number;
  readonly value: Value;
}

export interface Proposals {
  /**
   * Proposes a command on this leader and resolves when it was applied here. `Value` is what `apply` answers to this
   * command. @throws what `apply` refused with, and the errors of `RaftNode.propose`
   */
  propose<Value = unknown>(body: CommandBody, call: CallScope): Promise<Proposed<Value>>;
}
