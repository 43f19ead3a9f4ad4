/** What the leader sees when it plans the next steps of an operation, and what it plans. Planning is pure. */
import type { CommandBody, OperationRecord, VmRecord, WaitingVm } from "@blixard/protocol";
import type { PlacementDecision } from "../scheduler/scheduler-types.ts";
import type { Reservation } from "../scheduler/usage.ts";
import type { ClusterState } from "../state-machine/types.ts";

export interface PlanView {
  readonly state: ClusterState;
  readonly nowUnixMs: number;
  readonly isReachable: (nodeId: number) => boolean;
  /** Nothing runs there any more that needs the lease of the node. */
  readonly isLeaseOver: (nodeId: number) => boolean;
  /** Whether the node has what was decided up to this entry. */
  readonly hasLog: (nodeId: number, index: number) => boolean;
  /** Another node for the VM, or `only` this one, with the room in mind that was promised to others. */
  readonly place: (
    vm: VmRecord,
    options: { readonly reservations: readonly Reservation[]; readonly only?: number },
  ) => PlacementDecision;
}

/** One that is about a node. */
export type NodeOperation = OperationRecord & { readonly nodeId: number };

export interface OperationPlan {
  /** What to do now, in this order. */
  readonly steps: readonly CommandBody[];
  readonly percent: number;
  readonly message: string;
  readonly waiting: readonly WaitingVm[];
  readonly end?: {
    readonly state: "done" | "failed" | "cancelled";
    readonly error?: NonNullable<OperationRecord["error"]>;
  };
}

export function cancelled(message: string): OperationPlan {
  return { steps: [], percent: 0, message, waiting: [], end: { state: "cancelled" } };
}

/** Of 100, how much is done of `total`; 100 only when nothing is left. */
export function percentOf(left: number, total: number): number {
  if (left === 0) return 100;
  return Math.min(99, Math.floor((100 * Math.max(0, total - left)) / Math.max(1, total)));
}

export function countOf(count: number, noun = "VM"): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** The end of an operation whose time is over. */
export function lateEnd(
  operation: OperationRecord,
  nowUnixMs: number,
  left: number,
  noun = "VM",
): Pick<OperationPlan, "end"> {
  if (left === 0 || operation.deadlineUnixMs === undefined || nowUnixMs < operation.deadlineUnixMs) return {};
  const message = `its time is over, and ${countOf(left, noun)} ${left === 1 ? "is" : "are"} left`;
  return { end: { state: "failed", error: { code: "DEADLINE_EXCEEDED", message } } };
}
