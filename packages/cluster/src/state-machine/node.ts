/** Commands of members: admission, changes, liveness marks and removal. */
import {
  type CommandBodyOf,
  type Labels,
  limits,
  type NodeRecord,
  nodeReachable,
  type VmRecord,
} from "@blixard/protocol";
import { joinerRefusal } from "./level.ts";
import { applyOfferKey, applyUseKey, keysOf } from "./node-key.ts";
import { done, nodeNotFound, refuse, refuseBanned } from "./outcomes.ts";
import { nodeKey, sortedRecords } from "./state.ts";
import { ticketRefusal } from "./ticket.ts";
import { withoutOwnToken } from "./token.ts";
import type { AppliersOf, Change, ClusterState, CommandEntry, Outcome } from "./types.ts";
import { withoutCopyOn } from "./volume.ts";

export const nodeAppliers: AppliersOf<"node"> = {
  "node.admit": applyAdmit,
  "node.update": applyUpdate,
  "node.liveness": applyLiveness,
  "node.label": applyLabel,
  "node.offerKey": applyOfferKey,
  "node.useKey": applyUseKey,
  "node.remove": applyRemove,
};

function applyAdmit(state: ClusterState, body: CommandBodyOf<"node.admit">, { command }: CommandEntry): Outcome {
  const { node, ticketId } = body;
  const below = joinerRefusal(state, node);
  if (below !== undefined) return refuse("NEEDS_UPGRADE", below.message, below.hint);
  if (state.banned.has(node.endpointId)) return refuseBanned();
  const present = state.nodes.get(nodeKey(node.id));
  if (present !== undefined && !keysOf(present).includes(node.endpointId)) {
    return refuse("DUPLICATE_NODE", `node ${node.id} is another machine already`, "Choose another id with --id.");
  }
  for (const other of state.nodes.values()) {
    if (other.id === node.id) continue;
    if (keysOf(other).includes(node.endpointId)) {
      return refuse("DUPLICATE_NODE", `this machine is node ${other.id} already`, `Start it with --id ${other.id}.`);
    }
    if (other.name === node.name) {
      return refuse("DUPLICATE_NODE", `node ${other.id} is called ${node.name} already`, "Choose another node name.");
    }
  }
  // A joiner that lost the answer asks again: the same machine, admitted before, is told so once more.
  if (present !== undefined) {
    if (present.leaving) return refuse("REMOVED", `node ${node.id} is leaving the cluster`);
    if (node.storeId !== undefined && node.storeId !== present.storeId) return readmit(present, node);
    return done({ nodeId: node.id, role: present.role, incarnation: present.incarnation });
  }
  if (state.nodes.size >= limits.nodesMax)
    return refuse("CONFLICT", `the cluster has ${limits.nodesMax} nodes already`);
  const changes: Change[] = [];
  if (ticketId !== null) {
    const refused = ticketRefusal(state.tickets.get(ticketId), node, command.atUnixMs);
    if (refused !== undefined) return refused;
    const ticket = state.tickets.get(ticketId);
    if (ticket !== undefined) {
      changes.push({ table: "tickets", key: ticketId, value: { ...ticket, usedBy: node.endpointId } });
    }
  }
  const incarnation = (state.removed.get(nodeKey(node.id))?.incarnation ?? 0) + 1;
  changes.push({ table: "nodes", key: nodeKey(node.id), value: { ...node, incarnation } });
  for (const [key, removed] of state.removed) {
    if (removed.endpointId === node.endpointId || removed.nodeId === node.id) {
      changes.push({ table: "removed", key, value: undefined });
    }
  }
  return done({ nodeId: node.id, role: node.role, incarnation }, sortChanges(changes));
}

/**
 * The same machine with another store has forgotten its votes and its log. It gets the next incarnation, and stays out
 * of the Raft group until the leader has taken the voter out that it was.
 */
function readmit(present: NodeRecord, node: NodeRecord): Outcome {
  const { name, role, joinedUnixMs, cordoned, endpointId, keyNumber, nextKey, longLease, labels } = present;
  const incarnation = present.incarnation + 1;
  const value: NodeRecord = {
    ...{ ...node, name, role, joinedUnixMs, cordoned, endpointId, incarnation, rejoining: true },
    ...(keyNumber === undefined ? {} : { keyNumber }),
    ...(nextKey === undefined ? {} : { nextKey }),
    // Its VMs may run, whatever became of its store.
    ...(longLease === undefined ? {} : { longLease }),
    ...(labels === undefined ? {} : { labels }),
  };
  return done({ nodeId: node.id, role, incarnation }, [{ table: "nodes", key: nodeKey(node.id), value }]);
}

function applyUpdate(state: ClusterState, body: CommandBodyOf<"node.update">): Outcome {
  const node = state.nodes.get(nodeKey(body.nodeId));
  if (node === undefined) return nodeNotFound(body.nodeId);
  const { type: _, nodeId, addresses, storeId, starts, rejoined, acceptTwoCopies, ...fields } = body;
  if (storeId !== undefined && node.storeId !== undefined && storeId !== node.storeId) {
    return refuse("STALE_EPOCH", `node ${nodeId} lives in another store now`);
  }
  if (fields.longLease !== undefined && isLate(fields.longLease, node.longLease)) {
    return refuse("STALE_EPOCH", `a later start of node ${nodeId} has said how long its lease is`);
  }
  const vms = acceptTwoCopies === undefined ? [] : unnamedVms(state, nodeId, acceptTwoCopies);
  if (vms.length > 0) {
    return refuse("CONFLICT", vmsRefusal(nodeId, vms), removalHint(vms));
  }
  const { rejoining, ...kept } = node;
  const changed: NodeRecord = {
    ...kept,
    ...(rejoining === undefined || rejoined ? {} : { rejoining }),
    ...fields,
    ...(addresses === undefined ? {} : { addresses: [...addresses] }),
    ...(storeId === undefined ? {} : { storeId }),
    ...(starts === undefined ? {} : { starts: Math.max(starts, node.starts ?? 0) }),
  };
  const votedOut = changed.role === "voter" ? [] : withoutOwnToken(state, nodeId);
  return done(null, [{ table: "nodes", key: nodeKey(nodeId), value: changed }, ...votedOut]);
}

/** A word of an earlier start, or one of the same start that takes back what it was granted, came late. */
function isLate(
  said: NonNullable<NodeRecord["longLease"]>,
  present: NodeRecord["longLease"] = { ms: 0, starts: -1 },
): boolean {
  return said.ms === 0 ? said.starts <= present.starts : said.starts < present.starts;
}

function applyLabel(state: ClusterState, { nodeId, set, unset }: CommandBodyOf<"node.label">): Outcome {
  const node = state.nodes.get(nodeKey(nodeId));
  if (node === undefined) return nodeNotFound(nodeId);
  const kept = Object.entries(node.labels ?? {}).filter(([key]) => !unset.includes(key));
  const entries = [...kept.filter(([key]) => !Object.hasOwn(set, key)), ...Object.entries(set)];
  if (entries.length > limits.labelsMax) {
    return refuse(
      "CONFLICT",
      `node ${nodeId} would have ${entries.length} labels, and ${limits.labelsMax} are allowed`,
    );
  }
  const labels: Labels = Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  const { labels: _, ...others } = node;
  const value: NodeRecord = entries.length === 0 ? others : { ...others, labels };
  return done({ labels }, [{ table: "nodes", key: nodeKey(nodeId), value }]);
}

function applyLiveness(state: ClusterState, body: CommandBodyOf<"node.liveness">, entry: CommandEntry): Outcome {
  if (!state.nodes.has(nodeKey(body.nodeId))) return nodeNotFound(body.nodeId);
  const changes: Change[] = [];
  for (const vm of vmsOn(state, body.nodeId)) {
    const marked = vm.conditions.some((condition) => condition.type === nodeReachable);
    if (marked === !body.reachable) continue;
    changes.push({ table: "vms", key: vm.name, value: markVm(vm, body.nodeId, body.reachable, entry.index) });
  }
  return done({ vms: changes.length }, changes);
}

function markVm(vm: VmRecord, nodeId: number, reachable: boolean, index: number): VmRecord {
  const conditions = vm.conditions.filter((condition) => condition.type !== nodeReachable);
  if (reachable) return { ...vm, conditions, updatedIndex: index };
  // A pending VM may have been started just before its node went silent.
  const settled = vm.phase === "Stopped" || vm.phase === "Failed";
  return {
    ...vm,
    phase: settled ? vm.phase : "Unknown",
    reason: settled ? vm.reason : "node-unreachable",
    conditions: [
      ...conditions,
      {
        type: nodeReachable,
        status: false,
        reason: "NodeUnreachable",
        message:
          vm.lossPolicy?.onNodeLoss === "move"
            ? `node ${nodeId} does not answer; the VM is started elsewhere when the lease of the node is over.`
            : `node ${nodeId} does not answer; the VM may still run there, so it is not started elsewhere. ` +
              "Bring the node back, or remove it by force when it is known to be gone.",
      },
    ],
    updatedIndex: index,
  };
}

/** Ends a membership. What ran on the node is placed nowhere from now on; only a person starts it elsewhere. */
function applyRemove(state: ClusterState, body: CommandBodyOf<"node.remove">, entry: CommandEntry): Outcome {
  const node = state.nodes.get(nodeKey(body.nodeId));
  if (node === undefined) return nodeNotFound(body.nodeId);
  const changes: Change[] = [
    { table: "nodes", key: nodeKey(node.id), value: undefined },
    {
      table: "removed",
      key: nodeKey(node.id),
      value: { nodeId: node.id, endpointId: node.endpointId, incarnation: node.incarnation, index: entry.index },
    },
    ...withoutOwnToken(state, node.id),
  ];
  if (state.removed.size >= limits.nodesMax) {
    const oldest = [...state.removed].sort(([, a], [, b]) => a.index - b.index)[0];
    if (oldest !== undefined && oldest[0] !== nodeKey(node.id)) {
      changes.push({ table: "removed", key: oldest[0], value: undefined });
    }
  }
  for (const vm of vmsOn(state, node.id)) {
    changes.push({ table: "vms", key: vm.name, value: orphan(vm, node.id, entry.index) });
  }
  for (const volume of sortedRecords(state, "volumes")) {
    if (volume.leftOn?.includes(node.id) !== true) continue;
    const value = { ...withoutCopyOn(volume, node.id), updatedIndex: entry.index };
    changes.push({ table: "volumes", key: volume.name, value });
  }
  return done(null, changes);
}

function orphan(vm: VmRecord, nodeId: number, index: number): VmRecord {
  const settled = vm.phase === "Stopped" || vm.phase === "Failed";
  // Where it starts next it has nothing of its data: no copy of them that is left elsewhere is an older one.
  const { moved: _, ...left } = vm;
  return {
    ...left,
    node: null,
    phase: settled ? vm.phase : "Unknown",
    reason: settled ? vm.reason : "node-removed",
    message: `node ${nodeId} was removed; start the VM to place it on another node`,
    fencingEpoch: vm.fencingEpoch + 1,
    conditions: vm.conditions.filter((condition) => condition.type !== nodeReachable),
    updatedIndex: index,
  };
}

const namesShownMax = 20;

/** The VMs that are placed on a node and are not among `named`. */
export function unnamedVms(state: ClusterState, nodeId: number, named: readonly string[]): readonly VmRecord[] {
  return vmsOn(state, nodeId).filter(({ name }) => !named.includes(name));
}

/** Why a node with these VMs does not leave. */
export function vmsRefusal(nodeId: number, vms: readonly VmRecord[]): string {
  const names = vms.slice(0, namesShownMax).map(({ name }) => name);
  const more = vms.length > names.length ? ` and ${vms.length - names.length} more` : "";
  return `node ${nodeId} has ${vms.length} VMs, which may go on running there: ${names.join(", ")}${more}`;
}

export function removalHint(vms: readonly VmRecord[]): string {
  const names = vms.length > namesShownMax ? "NAME,..." : vms.map(({ name }) => name).join(",");
  return (
    "Delete them first. When the node cannot be reached, --force removes it, and they are then placed nowhere: one that " +
    `is started elsewhere may run twice, so name them: --force --accept-two-copies ${names}`
  );
}

/** The VMs that are placed on a node, by name. */
export function vmsOn(state: ClusterState, nodeId: number): VmRecord[] {
  return sortedRecords(state, "vms").filter((vm) => vm.node === nodeId);
}

/** Maps keep the order of insertion, which differs after a restore; changes must not. */
function sortChanges(changes: Change[]): Change[] {
  return changes.sort((a, b) => {
    const left = `${a.table}/${a.key}`;
    const right = `${b.table}/${b.key}`;
    return left < right ? -1 : left > right ? 1 : 0;
  });
}
