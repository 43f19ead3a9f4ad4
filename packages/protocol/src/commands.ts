/**
 * What the log holds. A command is a decision that the leader has made: every time, id, secret hash and placement in it
 * was chosen before it was proposed, so that applying it is a pure function of the state.
 */
import type { ErrorCode } from "@blixard/common";
import type {
  ClusterRecord,
  ImageRecord,
  MemberRole,
  NodeCapacity,
  NodeRecord,
  TicketRecord,
  TokenRecord,
  VmDesired,
  VmObservation,
  VmSpec,
} from "./records.ts";

/** Who asked: an API token, a node, or the node itself. */
export interface Actor {
  readonly kind: "token" | "node" | "system";
  readonly id: string;
}

export type CommandBody =
  | {
      readonly type: "cluster.init";
      readonly cluster: ClusterRecord;
      readonly node: NodeRecord;
      readonly token: TokenRecord;
      readonly images: readonly ImageRecord[];
    }
  /** Binds node id and key; uses up the ticket, if one is named, in the same step. */
  | { readonly type: "node.admit"; readonly node: NodeRecord; readonly ticketId: string | null }
  | {
      readonly type: "node.update";
      readonly nodeId: number;
      readonly addresses?: readonly string[];
      readonly capacity?: NodeCapacity;
      readonly version?: string;
      readonly featureLevel?: number;
      readonly role?: MemberRole;
      readonly cordoned?: boolean;
      /** Set once, by a node that was admitted without it. */
      readonly storeId?: string;
      /** Never goes back. */
      readonly starts?: number;
      /** The incarnation before is out of the Raft configuration: this one may take part. */
      readonly rejoined?: true;
      /** The node is to be taken out of the Raft configuration, and then removed. Never taken back. */
      readonly leaving?: true;
    }
  /** What the leader saw of a node for a while; marks the VMs of an unreachable one, and never moves them. */
  | { readonly type: "node.liveness"; readonly nodeId: number; readonly reachable: boolean }
  | { readonly type: "node.remove"; readonly nodeId: number }
  | { readonly type: "ticket.create"; readonly ticket: TicketRecord }
  | { readonly type: "ticket.revoke"; readonly ticketId: string }
  /** Lets somebody call who is no node; uses up the ticket, if one is named, in the same step. */
  | { readonly type: "token.create"; readonly token: TokenRecord; readonly ticketId: string | null }
  | { readonly type: "token.revoke"; readonly tokenId: string }
  | { readonly type: "image.put"; readonly image: ImageRecord }
  | { readonly type: "image.remove"; readonly name: string }
  | {
      readonly type: "vm.create";
      readonly name: string;
      readonly vmId: string;
      readonly spec: VmSpec;
      readonly desired: "running" | "stopped";
      readonly node: number;
      readonly placement: string;
    }
  | {
      readonly type: "vm.desire";
      readonly name: string;
      readonly desired: VmDesired;
      /** True for a start or restart, which takes a new fencing epoch. */
      readonly newEpoch: boolean;
      /** Where to place a VM that has no node; both or neither. */
      readonly node?: number;
      readonly placement?: string;
    }
  /** Forgets a VM at once, whatever its owner says: the forced delete. */
  | { readonly type: "vm.purge"; readonly name: string }
  | { readonly type: "vm.observe"; readonly nodeId: number; readonly observations: readonly VmObservation[] }
  | { readonly type: "kv.put"; readonly key: string; readonly value: string }
  | { readonly type: "kv.delete"; readonly key: string }
  /** null stands for "absent", in both places. */
  | { readonly type: "kv.cas"; readonly key: string; readonly from: string | null; readonly to: string | null };

export interface Command {
  /** Chosen by the caller; a repeated id within the window returns the first result. Empty: not remembered. */
  readonly requestId: string;
  readonly atUnixMs: number;
  readonly actor: Actor;
  /** When present, the command is refused unless the object it changes was last changed at this index. */
  readonly ifMatchIndex?: number;
  readonly body: CommandBody;
}

/** What `apply` answers, alike on every replica. */
export type CommandResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string; readonly hint?: string };
