/** What the scheduler is asked, and what it answers. */
import {
  type DriverDemand,
  type ImageRecord,
  type Labels,
  type NodeRecord,
  type NodeVerdict,
  type Scheduling,
  schedulingDefaults,
  type VmPlacement,
  type VmSpec,
} from "@blixard/protocol";
import type { Usage } from "./usage.ts";

export interface SchedulerOptions extends Required<Scheduling> {
  /** Memory that a VM takes beside its guest's, in MiB. Measured 60 to 95 for QEMU. */
  readonly overheadMemoryMiB: number;
}

export const schedulerDefaults: SchedulerOptions = { ...schedulingDefaults, overheadMemoryMiB: 64 };

/** A node as the scheduler sees it. */
export interface SchedulerNode {
  readonly record: NodeRecord;
  /** What the leader heard from it lately. */
  readonly reachable: boolean;
  /** Why it cannot take this VM, for a reason that its record does not show. */
  readonly refusal?: string;
}

/** A VM that is on a node already, running or not. */
export interface PlacedVm {
  readonly node: Pick<NodeRecord, "id" | "labels">;
  readonly labels?: Labels;
  readonly placement?: VmPlacement;
}

export interface PlacementRequest {
  readonly spec: VmSpec;
  readonly labels?: Labels;
  /** Which of its networks are bridges stands in them. Default: none is. */
  readonly cards?: DriverDemand["cards"];
  readonly image: ImageRecord;
  /** What the volumes take that go along with it. Default: 0. */
  readonly carriedMiB?: number;
  readonly nodes: readonly SchedulerNode[];
  /** What the others take. */
  readonly usage: ReadonlyMap<number, Usage>;
  /** The node that the VM is on already, with its disks. */
  readonly presentOn?: number;
  /** The other VMs that are placed. */
  readonly vms: readonly PlacedVm[];
}

export type PlacementDecision =
  | {
      readonly ok: true;
      readonly nodeId: number;
      readonly reasons: string;
      /** Best first, and then those that do not fit. */
      readonly nodes: readonly NodeVerdict[];
    }
  | {
      readonly ok: false;
      readonly code: "NO_CAPACITY";
      readonly message: string;
      readonly hint: string;
      readonly nodes: readonly NodeVerdict[];
    };
