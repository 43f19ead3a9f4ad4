/** Nodes and members: what they are, and how they change and leave. */
import { BlixardError } from "@blixard/common";
import type { NodeRecord, NodeView } from "@blixard/protocol";
import { asNodeId } from "@blixard/raft";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { isReachable, progressOf, votes } from "../peers/reachability.ts";
import { usageByNode } from "../scheduler/scheduler.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { memberStatuses } from "./cluster.ts";
import { pathsOfAll } from "./peer-paths.ts";
import { propose } from "./propose.ts";
import { refuseIfMatch, type ServiceContext } from "./service-context.ts";
import { assertSpeaksFor } from "./vm.ts";

type MemberMethods =
  | "node.list"
  | "node.get"
  | "node.update"
  | "node.cordon"
  | "node.addresses"
  | "member.list"
  | "member.remove"
  | "member.setRole"
  | "leader.transfer";

export function memberHandlers(context: ServiceContext): Pick<Handlers, MemberMethods> {
  return {
    "node.list": async (_request, call) => {
      const paths = await pathsOfAll(context, call);
      const view = (node: NodeRecord) => {
        const known = paths.get(node.id);
        return { ...viewOf(context, node), ...(known === undefined ? {} : { paths: known }) };
      };
      return { items: sortedRecords(context.stateMachine.state, "nodes").map(view) };
    },
    "node.get": async ({ id }, call) => {
      const view = viewOf(context, nodeOf(context, id));
      const known = (await pathsOfAll(context, call)).get(id);
      return { ...view, ...(known === undefined ? {} : { paths: known }) };
    },
    "node.update": async ({ nodeId, addresses, capacity, version, featureLevel, storeId, starts }, call) => {
      assertSpeaksFor(call, nodeId);
      const body = {
        type: "node.update",
        nodeId,
        ...(addresses === undefined ? {} : { addresses }),
        ...(capacity === undefined ? {} : { capacity }),
        ...(version === undefined ? {} : { version }),
        ...(featureLevel === undefined ? {} : { featureLevel }),
        ...(storeId === undefined ? {} : { storeId }),
        ...(starts === undefined ? {} : { starts }),
      } as const;
      const { index, term } = await propose(context, body, call);
      return { index, term };
    },
    "node.cordon": async ({ id, cordoned }, call) => {
      refuseIfMatch(call, "a node");
      const { index, term } = await propose(context, { type: "node.update", nodeId: id, cordoned }, call);
      return { index, term };
    },
    "node.addresses": async ({ claims }) => {
      context.addressBook.merge(claims);
      return { claims: context.addressBook.claims() };
    },
    "member.list": async () => ({ items: memberStatuses(context) }),
    "member.remove": ({ id, force }, call) => removeMember(context, id, force, call),
    "member.setRole": async ({ id, role, force }, call) => {
      refuseIfMatch(call, "a member");
      const node = nodeOf(context, id);
      if (role === "witness") assertRunsNoVms(context, id, force, "A witness runs none. Delete them first");
      if (votes(node) && !votes({ role })) {
        assertQuorumStays(context, id, force);
        if (id === context.options.nodeId) await handOver(context, call);
      }
      const { index, term } = await propose(context, { type: "node.update", nodeId: id, role }, call);
      return { index, term };
    },
    "leader.transfer": async ({ to }, call) => {
      const target = to ?? bestSuccessor(context);
      if (target === undefined) throw conflict("no other voter can take over");
      if (target !== context.options.nodeId) {
        if (!context.raft.status.value.confState.voters.includes(asNodeId(target))) {
          throw conflict(`node ${target} is no voter`);
        }
        await context.raft.transferLeader(asNodeId(target), { signal: call.signal });
      }
      const { leaderId, term } = await context.raft.status.until((status) => status.leaderId !== 0, {
        signal: call.signal,
      });
      return { leaderId, term };
    },
  };
}

export function nodeOf(context: ServiceContext, id: number): NodeRecord {
  const node = context.stateMachine.state.nodes.get(nodeKey(id));
  if (node !== undefined) return node;
  throw new BlixardError("NODE_NOT_FOUND", `there is no node ${id}`, {
    hint: "List the nodes with: blixard nodes list",
    outcome: "not_applied",
  });
}

/** Entries that a follower may be behind and still count as ready. */
const readyLagEntries = 1_000;

function viewOf(context: ServiceContext, node: NodeRecord): NodeView {
  const vms = [...context.stateMachine.state.vms.values()].filter((vm) => vm.node === node.id);
  const usage = usageByNode(vms, [], context.options.scheduler).get(node.id);
  return { ...node, state: stateOf(context, node), vms: vms.length, usedMemoryMiB: usage?.memoryMiB ?? 0 };
}

function stateOf(context: ServiceContext, node: NodeRecord): NodeView["state"] {
  if (!isReachable(context, node.id)) return "unreachable";
  if (node.id === context.options.nodeId) return "ready";
  const progress = progressOf(context, node.id);
  const { commitIndex } = context.raft.status.value;
  const ready =
    progress !== undefined && progress.learner !== votes(node) && progress.match + readyLagEntries >= commitIndex;
  return ready ? "ready" : "catching-up";
}

/** The voter with the most of the log among those that answer; a witness only when there is no other. */
export function bestSuccessor(context: ServiceContext): number | undefined {
  const candidates = context.raft
    .coreStatus()
    .progress.filter((peer) => peer.id !== context.options.nodeId && !peer.learner && isReachable(context, peer.id));
  const { nodes } = context.stateMachine.state;
  const isWitness = (id: number) => Number(nodes.get(nodeKey(id))?.role === "witness");
  return candidates.sort((a, b) => isWitness(a.id) - isWitness(b.id) || b.match - a.match || a.id - b.id)[0]?.id;
}

/** Notes the wish in the log and waits until the leader's duties have fulfilled it. */
async function removeMember(context: ServiceContext, id: number, force: boolean, call: CallScope) {
  refuseIfMatch(call, "a member");
  const node = context.stateMachine.state.nodes.get(nodeKey(id));
  // A node that is not there may have been removed by this very request, whose answer was lost: `apply` knows.
  if (node !== undefined && votes(node)) assertQuorumStays(context, id, force);
  assertRunsNoVms(context, id, force, "Delete them first, or use --force: they are then placed nowhere");
  if (id === context.options.nodeId) await handOver(context, call);
  const { index, term } = await propose(context, { type: "node.update", nodeId: id, leaving: true }, call);
  await context.stateMachine.version.until(() => !context.stateMachine.state.nodes.has(nodeKey(id)), {
    signal: call.signal,
  });
  return { index, term };
}

/** @throws CONFLICT */
function assertRunsNoVms(context: ServiceContext, id: number, force: boolean, hint: string): void {
  const vms = sortedRecords(context.stateMachine.state, "vms").filter((vm) => vm.node === id);
  if (vms.length === 0 || force) return;
  throw new BlixardError("CONFLICT", `node ${id} has ${vms.length} VMs, for example ${vms[0]?.name}`, {
    outcome: "not_applied",
    hint: `${hint}.`,
  });
}

/** A leader does not take itself out: another one does. The caller asks that one after NOT_LEADER. */
async function handOver(context: ServiceContext, call: CallScope): Promise<never> {
  const successor = bestSuccessor(context);
  if (successor === undefined) throw conflict("no other voter can take over from this leader");
  await context.raft.transferLeader(asNodeId(successor), { signal: call.signal });
  throw new BlixardError("NOT_LEADER", `node ${successor} leads now`, {
    outcome: "not_applied",
    details: { leaderId: successor },
  });
}

/** @throws QUORUM_AT_RISK when the voters that remain would not have a majority that answers */
function assertQuorumStays(context: ServiceContext, id: number, force: boolean): void {
  const remaining = sortedRecords(context.stateMachine.state, "nodes").filter(
    (node) => votes(node) && !node.leaving && node.id !== id,
  );
  const answering = remaining.filter((node) => isReachable(context, node.id)).length;
  const needed = Math.floor(remaining.length / 2) + 1;
  if (remaining.length > 0 && (force || answering >= needed)) return;
  const message =
    remaining.length === 0
      ? `node ${id} is the last voter`
      : `without node ${id}, ${answering} of ${remaining.length} voters answer and ${needed} are needed`;
  const hint =
    remaining.length === 0
      ? "Add another voter first."
      : "Bring the others back first, or use --force if you are sure.";
  throw new BlixardError("QUORUM_AT_RISK", message, { hint, outcome: "not_applied" });
}

function conflict(message: string): BlixardError {
  return new BlixardError("CONFLICT", message, { outcome: "not_applied" });
}
