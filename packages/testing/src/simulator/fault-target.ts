/** What faults are played on: whole clusters, and bare Raft groups. */
import type { MemberRole } from "@blixard/protocol";
import type { TakeOver } from "./byzantine/take-over.ts";
import type { FaultAction } from "./fault-schedule.ts";
import type { SimMachine, SimWorld } from "./sim-machine.ts";

/** The machines that faults happen to, and what their operator can do. */
export interface FaultTarget {
  readonly world: SimWorld;
  machines(): SimMachine[];
  machine(id: number): SimMachine | undefined;
  /** Machines that are neither removed nor beyond repair. */
  inUse(): SimMachine[];
  leader(): SimMachine | undefined;
  /** True when every machine in use is up and votes, and when these are all that the leader knows. */
  isWhole(): boolean;
  /** True when all that are up know of the newest start of this node. Absent where nodes do not ask each other. */
  isStartKnown?(id: number): boolean;
  /** Puts another machine in. */
  join(): Promise<void>;
  remove(id: number, timeoutMs: number, force: boolean): Promise<void>;
  transferLeader(timeoutMs: number): Promise<void>;
  /**
   * Takes a member's vote away and hands it the leadership at the same time; then it gets its vote back. Absent where
   * members keep their votes.
   */
  demoteAndTransfer?(id: number, timeoutMs: number): Promise<void>;
  /** Changes what a member does. Absent where all vote. */
  setRole?(id: number, role: MemberRole, timeoutMs: number): Promise<void>;
  /** What it does, as the leader has it; undefined when the leader does not know it, or there is none. */
  roleOf?(id: number): MemberRole | "removed" | undefined;
  /** Lets a member that was taken over lie for a while. Absent where nobody is. */
  takeOver?(action: TakeOver): void;
  /** Ends that, and what else somebody does to the cluster. */
  calm?(): void;
}

export type CrashFault = Pick<Extract<FaultAction, { readonly type: "crash" }>, "mode" | "downMs">;
