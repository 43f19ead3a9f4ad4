/** What the page knows of the cluster, and how it comes to know it. */

import { nodeReachable } from "virtual:contract";
import type { ImageRecord, NodeStatus, NodeView, OperationRecord, PlacementReport, VmRecord } from "@blixard/protocol";
import { signal } from "@preact/signals";
import { metricsText, read } from "./api.ts";
import { type ApiError, shownError } from "./api-error.ts";
import { type Sample, sampleOf, withSample } from "./metrics.ts";
import { type Load, Poller } from "./poller.ts";
import { leave, tokenOf } from "./session.ts";

/** Items of a list, and whether there are more than are shown. */
interface Listed<Item> {
  readonly items: readonly Item[];
  readonly isCut: boolean;
}

export const status = signal<NodeStatus | undefined>(undefined);
export const nodes = signal<readonly NodeView[] | undefined>(undefined);
export const vms = signal<Listed<VmRecord> | undefined>(undefined);
export const images = signal<Listed<ImageRecord> | undefined>(undefined);
export const operations = signal<Listed<OperationRecord> | undefined>(undefined);
export const samples = signal<readonly Sample[]>([]);
/** The VM that is looked at. `gone`: there is none of this name. */
export const vm = signal<{ readonly record: VmRecord; readonly report?: PlacementReport } | "gone" | undefined>(
  undefined,
);
/** What becomes of VMs whose node is silent, by name. */
export const leases = signal<ReadonlyMap<string, Lease>>(new Map());
/** Why the last request failed, and when the next one comes. */
export const trouble = signal<{ readonly error: ApiError; readonly againAtMs: number } | undefined>(undefined);

export interface Lease {
  readonly endAtMs: number;
  readonly to: number | null;
}

const itemsMax = 500;
/** VMs of silent nodes that are asked about in one turn. */
const leasesMax = 4;

export const poller = new Poller({
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  isHidden: () => document.hidden,
  onOutcome: (failure) => {
    if (failure === undefined) {
      trouble.value = undefined;
      return;
    }
    const error = shownError(failure.error);
    if (error.isDenied) leave(error);
    else trouble.value = { error, againAtMs: Date.now() + failure.againMs };
  },
});

/** Forgets everything, for whoever comes next. */
export function forget(): void {
  poller.follow([]);
  for (const known of [status, nodes, vms, images, operations, vm, trouble]) known.value = undefined;
  samples.value = [];
  leases.value = new Map();
}

const listed = <Item>({ items, next }: { readonly items: readonly Item[]; readonly next?: string }) => ({
  items,
  isCut: next !== undefined,
});

const loadStatus: Load = async () => {
  status.value = await read(tokenOf(), "status.get", {});
};

/** Only the leader knows them; without one the members of the status are what is known. */
const loadNodes: Load = async () => {
  try {
    nodes.value = (await read(tokenOf(), "node.list", {})).items;
  } catch (error) {
    nodes.value = undefined;
    throw error;
  }
};

const loadVms: Load = async () => {
  vms.value = listed(await read(tokenOf(), "vm.list", { limit: itemsMax }));
  await loadLeases(vms.value.items.filter(isMoving).slice(0, leasesMax));
};

const loadImages: Load = async () => {
  images.value = listed(await read(tokenOf(), "image.list", { limit: itemsMax }));
};

const loadOperations: Load = async () => {
  operations.value = listed(await read(tokenOf(), "operation.list", { limit: itemsMax }));
};

const loadMetrics: Load = async () => {
  samples.value = withSample(samples.value, sampleOf(await metricsText(tokenOf()), Date.now()));
};

/** Of the VM `name`; where it would be placed is asked of the leader, and left out without one. */
const loadVm =
  (name: string): Load =>
  async () => {
    try {
      const record = await read(tokenOf(), "vm.get", { name });
      const report = await read(tokenOf(), "vm.candidates", { name }).catch(() => undefined);
      vm.value = report === undefined ? { record } : { record, report };
      if (report !== undefined && isMoving(record)) keepLease(name, report);
    } catch (error) {
      if (shownError(error).code !== "VM_NOT_FOUND") throw error;
      vm.value = "gone";
    }
  };

/** What each view shows. */
export const loadsOf = {
  overview: [loadStatus, loadNodes, loadMetrics],
  nodes: [loadNodes, loadStatus],
  // Every other time the VMs: what becomes of those on a silent node is soon over.
  vms: [loadVms, loadStatus, loadVms, loadImages],
  images: [loadImages, loadStatus],
  operations: [loadOperations, loadStatus],
} as const;

export const loadsOfVm = (name: string): readonly Load[] => [loadVm(name), loadStatus, loadNodes];

/** Whether the leader has not heard of the node of a VM for a while. */
export function isOnSilentNode({ conditions }: VmRecord): boolean {
  return conditions.some(({ type, status: holds }) => type === nodeReachable && !holds);
}

function isMoving(record: VmRecord): boolean {
  return isOnSilentNode(record) && record.lossPolicy?.onNodeLoss === "move";
}

async function loadLeases(moving: readonly VmRecord[]): Promise<void> {
  const present = new Set(moving.map(({ name }) => name));
  leases.value = new Map([...leases.value].filter(([name]) => present.has(name)));
  for (const { name } of moving) {
    const report = await read(tokenOf(), "vm.candidates", { name }).catch(() => undefined);
    if (report !== undefined) keepLease(name, report);
  }
}

function keepLease(name: string, { leaseLeftMs, nodeId }: PlacementReport): void {
  if (leaseLeftMs === undefined) return;
  leases.value = new Map([...leases.value, [name, { endAtMs: Date.now() + leaseLeftMs, to: nodeId }]]);
}
