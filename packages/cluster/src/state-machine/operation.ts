/**
 * Commands of operations. The leader has decided what they are about and how far they are; here it is held against what is
 * there, and what ends is kept within its limit.
 */
import {
  type CommandBodyOf,
  limits,
  type NodeRecord,
  type OperationKind,
  type OperationRecord,
  type VmRecord,
} from "@blixard/protocol";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { nodeKey, sortedRecords } from "./state.ts";
import type { AppliersOf, Change, ClusterState, CommandEntry, Outcome } from "./types.ts";
import { heldBy, startedWhereItIs } from "./vm-hold.ts";
import { keepsData, policyOf } from "./vm-move.ts";
import { volumesCarryRefusal } from "./volume.ts";
import { stayed, volumeThatMoves } from "./volume-move.ts";

export const operationAppliers: AppliersOf<"operation"> = {
  "operation.start": applyStart,
  "operation.progress": applyProgress,
  "operation.end": applyEnd,
};

/** The operation that works on a node as a whole; there is one at a time. */
export function operationOnNode(state: ClusterState, nodeId: number): OperationRecord | undefined {
  return sortedRecords(state, "operations").find(
    (operation) => operation.nodeId === nodeId && operation.state === "running" && operation.kind.startsWith("node-"),
  );
}

/** Whether VMs that wait for this node are to be started elsewhere, where that is possible. */
export function isEvacuated(state: ClusterState, nodeId: number): boolean {
  return operationOnNode(state, nodeId)?.kind === "node-evacuate";
}

function applyStart(
  state: ClusterState,
  { operation }: CommandBodyOf<"operation.start">,
  entry: CommandEntry,
): Outcome {
  const { id, kind, nodeId } = operation;
  if (kind === "rebalance" || nodeId === undefined) return startOnCluster(state, operation, entry);
  const node = state.nodes.get(nodeKey(nodeId));
  if (node === undefined) return nodeNotFound(nodeId);
  if (state.operations.has(id)) return refuse("CONFLICT", `there is an operation ${id} already`);
  if (node.leaving) return refuse("CONFLICT", `node ${nodeId} is leaving the cluster`);
  const onNode = kind.startsWith("node-");
  const present = onNode ? operationOnNode(state, nodeId) : undefined;
  if (present !== undefined && (kind !== "node-resume" || present.kind === "node-resume")) {
    const hint = `Wait for it: blixard operations wait ${present.id}. Or end it: blixard operations cancel ${present.id}.`;
    return refuse("CONFLICT", `node ${nodeId} has an operation that runs: ${present.kind} ${present.id}`, hint);
  }
  const tooMany = manyRefusal(state);
  if (tooMany !== undefined) return tooMany;
  const about = operation.volume === undefined ? `VM ${operation.vms[0] ?? ""}` : `volume ${operation.volume.name}`;
  const subject = onNode ? `node ${nodeId}` : about;
  const record: OperationRecord = { ...operation, subject, ...begun(entry) };
  if (kind === "vm-migrate") return startMigration(state, record, entry);
  if (kind === "volume-move") return startVolumeMove(state, record, entry);
  const ended = present === undefined ? [] : endOf(state, endedBy(present, `node ${nodeId} is resumed`, entry), entry);
  return done({ operation: record }, [
    ...ended,
    ...cordonOf(node, kind),
    { table: "operations", key: id, value: record },
  ]);
}

function manyRefusal(state: ClusterState): Outcome | undefined {
  const running = [...state.operations.values()].filter((each) => each.state === "running").length;
  if (running < limits.operationsRunningMax) return undefined;
  return refuse("CONFLICT", `${running} operations run already`, "See: blixard operations list");
}

/** One that is about no single node; there is one of a kind at a time. */
function startOnCluster(
  state: ClusterState,
  operation: CommandBodyOf<"operation.start">["operation"],
  entry: CommandEntry,
): Outcome {
  const { id, kind } = operation;
  if (kind !== "rebalance") return refuse("INVALID_ARGUMENT", `an operation ${kind} is about a node`);
  if (state.operations.has(id)) return refuse("CONFLICT", `there is an operation ${id} already`);
  const present = sortedRecords(state, "operations").find((each) => each.kind === kind && each.state === "running");
  if (present !== undefined) {
    const hint = `Wait for it: blixard operations wait ${present.id}. Or end it: blixard operations cancel ${present.id}.`;
    return refuse("CONFLICT", `an operation runs already: ${kind} ${present.id}`, hint);
  }
  const tooMany = manyRefusal(state);
  if (tooMany !== undefined) return tooMany;
  const record: OperationRecord = { ...operation, subject: "the cluster", ...begun(entry) };
  return done({ operation: record }, [{ table: "operations", key: id, value: record }]);
}

/** The VM is held in the same entry: one that is not held any more was taken back. */
function startMigration(state: ClusterState, record: OperationRecord, entry: CommandEntry): Outcome {
  const { id, nodeId, vmId = "", to = 0 } = record;
  const vm = state.vms.get(state.vmNames.get(vmId) ?? "");
  if (vm === undefined) return refuse("VM_NOT_FOUND", "there is no such VM", "List the VMs with: blixard vm list");
  const { name, desired, held, node } = vm;
  if (node !== nodeId) return refuse("CONFLICT", `the VM ${name} is not on node ${nodeId} any more`, "Try again.");
  if (desired === "deleted") return refuse("CONFLICT", `the VM ${name} is being deleted`);
  if (held !== undefined) {
    const hint = `See: blixard operations get ${held.operation}`;
    return refuse("CONFLICT", `the operation ${held.operation} holds the VM ${name}`, hint);
  }
  const target = state.nodes.get(nodeKey(to));
  if (target === undefined) return nodeNotFound(to);
  if (target.leaving) return refuse("CONFLICT", `node ${to} is leaving the cluster`);
  const stuck = volumesCarryRefusal(state, vm);
  if (stuck !== undefined)
    return refuse("CONFLICT", `the VM ${name} cannot leave its node: ${stuck}`, "Try again later.");
  const copies = keepsData(state, vm) ? { to } : {};
  const value: VmRecord = {
    ...heldBy(vm, record, desired, { next: "move", ...copies }),
    updatedUnixMs: entry.command.atUnixMs,
    updatedIndex: entry.index,
  };
  return done({ operation: record }, [
    { table: "vms", key: name, value },
    { table: "operations", key: id, value: record },
  ]);
}

/** The volume is marked in the same entry: one that is not so any more was taken back. */
function startVolumeMove(state: ClusterState, record: OperationRecord, entry: CommandEntry): Outcome {
  const value = volumeThatMoves(state, record, entry);
  if ("result" in value) return value;
  return done({ operation: record }, [
    { table: "volumes", key: value.name, value },
    { table: "operations", key: record.id, value: record },
  ]);
}

function begun({ command, index }: CommandEntry) {
  const { actor, atUnixMs } = command;
  const state = "running" as const;
  const told = { actor, state, percent: 0, message: "", waiting: [] };
  return { ...told, startedUnixMs: atUnixMs, updatedUnixMs: atUnixMs, startedIndex: index, updatedIndex: index };
}

function cordonOf(node: NodeRecord, kind: OperationKind): readonly Change[] {
  const cordoned = kind === "node-drain" ? true : kind === "node-resume" ? false : node.cordoned;
  if (cordoned === node.cordoned) return [];
  return [{ table: "nodes", key: nodeKey(node.id), value: { ...node, cordoned } }];
}

/**
 * A forced wish about a VM as an operation; none where that would be one too many, because the wish itself stands all the
 * same.
 */
export function forcedOperation(
  state: ClusterState,
  vm: VmRecord,
  { id, kind }: { readonly id: string | undefined; readonly kind: "vm-stop" | "vm-delete" },
  entry: CommandEntry,
): Change | undefined {
  if (id === undefined || vm.node === null || state.operations.has(id)) return undefined;
  if (state.operations.size >= limits.operationsRunningMax + limits.operationsEndedMax) return undefined;
  const about = { nodeId: vm.node, vmId: vm.vmId, vms: [vm.name], subject: `VM ${vm.name}` };
  const keeps = kind === "vm-delete" && policyOf(vm).onPartition === "keep" ? ({ keepsRunning: true } as const) : {};
  const record: OperationRecord = { id, kind, ...about, ...keeps, ...begun(entry) };
  return { table: "operations", key: id, value: record };
}

function applyProgress(
  state: ClusterState,
  { id, percent, message, waiting }: CommandBodyOf<"operation.progress">,
  { command, index }: CommandEntry,
): Outcome {
  const operation = state.operations.get(id);
  if (operation === undefined) return operationNotFound(id);
  if (operation.state !== "running") return hasEndedAlready(operation);
  const dated = { updatedUnixMs: command.atUnixMs, updatedIndex: index };
  const value: OperationRecord = { ...operation, percent, message, waiting, ...dated };
  return done(null, [{ table: "operations", key: id, value }]);
}

function applyEnd(state: ClusterState, body: CommandBodyOf<"operation.end">, entry: CommandEntry): Outcome {
  const operation = state.operations.get(body.id);
  if (operation === undefined) return operationNotFound(body.id);
  if (operation.state !== "running") return hasEndedAlready(operation);
  const { type: _, id: __, ...said } = body;
  const value: OperationRecord = {
    ...operation,
    ...said,
    percent: said.state === "done" ? 100 : operation.percent,
    updatedUnixMs: entry.command.atUnixMs,
    updatedIndex: entry.index,
  };
  return done({ operation: value }, endOf(state, value, entry));
}

function endedBy(operation: OperationRecord, message: string, { command, index }: CommandEntry): OperationRecord {
  return { ...operation, state: "cancelled", message, updatedUnixMs: command.atUnixMs, updatedIndex: index };
}

/** What ends leaves no VM stopped half-way, and takes the place of the one that ended first. */
function endOf(state: ClusterState, ended: OperationRecord, entry: CommandEntry): readonly Change[] {
  const freed = sortedRecords(state, "vms")
    .filter(({ held }) => held?.operation === ended.id && held.next === "move")
    .map((vm) => ({ table: "vms", key: vm.name, value: startedWhereItIs(vm, entry) }) as const);
  const others = [...state.operations.values()].filter(({ id, state: now }) => now !== "running" && id !== ended.id);
  const tooMany = others.length + 1 - limits.operationsEndedMax;
  const oldest = others
    .sort((a, b) => a.updatedIndex - b.updatedIndex || (a.id < b.id ? -1 : 1))
    .slice(0, Math.max(0, tooMany));
  return [
    ...freed,
    ...stayed(state, ended, entry),
    ...oldest.map(({ id }) => ({ table: "operations", key: id, value: undefined }) as const),
    { table: "operations", key: ended.id, value: ended },
  ];
}

function operationNotFound(id: string): Outcome {
  return refuse("OPERATION_NOT_FOUND", `there is no operation ${id}`, "See: blixard operations list");
}

function hasEndedAlready({ id, state }: OperationRecord): Outcome {
  return refuse("CONFLICT", `the operation ${id} has ended: ${state}`, `See: blixard operations get ${id}`);
}
