/** Nodes: what they are, what they say of themselves, and what the others know of them. */
import { notApplied, withTimeLimit } from "@blixard/common";
import type { Labels, NodeRecord, NodeView } from "@blixard/protocol";
import type { CallScope, Handler, Handlers } from "../calls/call-types.ts";
import { assertSpeaksFor } from "../calls/identify.ts";
import type { NodeParts } from "../node-parts.ts";
import type { PeerPromises, RaftPosition } from "../peers/peer-promises.ts";
import { isReachable, progressOf, votes } from "../peers/reachability.ts";
import { noUsage, type Usage, usageByNode } from "../scheduler/usage.ts";
import type { LastEntry } from "../start/start-words.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { pageOf } from "./page.ts";
import { pathsOfAll } from "./peer-paths.ts";
import { refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type Parts = Pick<
  NodeParts,
  | "clock"
  | "options"
  | "raft"
  | "transport"
  | "bulkRoutes"
  | "stateMachine"
  | "proposals"
  | "peerCalls"
  | "peerPromises"
  | "addressBook"
>;

type NodeMethods =
  | "node.list"
  | "node.get"
  | "node.update"
  | "node.cordon"
  | "node.label"
  | "node.addresses"
  | "node.verify";

export function nodeHandlers(parts: Parts): Pick<Handlers, NodeMethods> {
  return {
    "node.list": async (asked, call) => {
      const paths = await pathsOfAll(parts, call);
      const usage = usageNow(parts);
      const view = (node: NodeRecord) => {
        const known = paths.get(node.id);
        return { ...viewOf(parts, node, usage), ...(known === undefined ? {} : { paths: known }) };
      };
      const { state, version } = parts.stateMachine;
      const views = sortedRecords(state, "nodes").map(view);
      return pageOf(views, asked, { ...byNodeId, index: version.value.appliedIndex });
    },
    "node.get": async ({ id }, call) => {
      const view = viewOf(parts, nodeOf(parts, id), usageNow(parts));
      const known = (await pathsOfAll(parts, call)).get(id);
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
      const { index, term } = await parts.proposals.propose(body, call);
      return { index, term };
    },
    "node.cordon": async ({ id, cordoned }, call) => {
      refuseIfMatch(call, "a node");
      const { index, term } = await parts.proposals.propose({ type: "node.update", nodeId: id, cordoned }, call);
      return { index, term };
    },
    "node.label": async ({ id, set, unset }, call) => {
      refuseIfMatch(call, "a node");
      nodeOf(parts, id);
      const body = { type: "node.label", nodeId: id, set, unset } as const;
      const { index, term, value } = await parts.proposals.propose<{ labels: Labels }>(body, call);
      return { index, term, labels: value.labels };
    },
    "node.addresses": async ({ claims }, call) => {
      // Only members have access, each under its own key.
      const from = Number(call.meta.actor.id);
      parts.addressBook.merge(claims, from);
      return { claims: parts.addressBook.claimsFor(from) };
    },
    "node.verify": verifyHandler(parts.peerPromises, () => parts.raft.status.value, {
      confirm: (call) => isConfirmed(parts, call),
      lastEntry: () => lastEntryOf(parts),
    }),
  };
}

/** What the answer says of this node itself. */
interface Answerer {
  /** Resolves with true when the state here is at least as new as the question. */
  readonly confirm: (call: CallScope) => Promise<boolean>;
  /** Of the log; undefined before it was read. */
  readonly lastEntry: () => LastEntry | undefined;
}

/**
 * Answers a member that starts. Works before this node runs Raft: `raft` then says that this node does not lead.
 */
export function verifyHandler(
  promises: Pick<PeerPromises, "verify" | "refusedBy">,
  raft: () => RaftPosition,
  { confirm, lastEntry }: Answerer,
): Handler<"node.verify"> {
  return async (request, call) => {
    assertSpeaksFor(call, request.nodeId);
    if (!request.confirm) return promises.verify(request, raft());
    // The verdict comes from the state that was confirmed.
    const current = await confirm(call);
    const entry = lastEntry();
    return {
      ...promises.verify(request, raft()),
      ...{ current, refusedBy: [...promises.refusedBy] },
      ...(entry === undefined ? {} : { lastEntry: entry }),
    };
  };
}

function lastEntryOf({ raft }: Pick<NodeParts, "raft">): LastEntry {
  const { lastLogIndex, lastLogTerm } = raft.status.value;
  return { index: lastLogIndex, term: lastLogTerm };
}

/** Whoever asks is not kept waiting for a leader that does not come. */
const confirmTimeoutMs = 500;

async function isConfirmed(
  { clock, raft }: Pick<NodeParts, "clock" | "raft">,
  { signal }: CallScope,
): Promise<boolean> {
  try {
    await withTimeLimit(clock, confirmTimeoutMs, signal, (limited) => raft.read({ signal: limited }));
    return true;
  } catch {
    return false;
  }
}

export function nodeOf(parts: Pick<NodeParts, "stateMachine">, id: number): NodeRecord {
  const node = parts.stateMachine.state.nodes.get(nodeKey(id));
  if (node !== undefined) return node;
  throw notApplied("NODE_NOT_FOUND", `there is no node ${id}`, {
    hint: "List the nodes with: blixard nodes list",
  });
}

/** How lists of nodes and members are ordered. */
export const byNodeId = { keyOf: ({ id }: { readonly id: number }) => String(id), orderOf: numberOrder };

/** So that 10 follows 9; what is no number stays where it is as a text. */
function numberOrder(key: string): string {
  return /^\d+$/.test(key) ? nodeKey(Number(key)) : key;
}

/** Entries that a follower may be behind and still count as ready. */
const readyLagEntries = 1_000;

function usageNow({ stateMachine, options }: Parts): ReadonlyMap<number, Usage> {
  return usageByNode(stateMachine.state, [], options.scheduler);
}

function viewOf(parts: Parts, node: NodeRecord, usage: ReadonlyMap<number, Usage>): NodeView {
  const vms = [...parts.stateMachine.state.vms.values()].filter((vm) => vm.node === node.id).length;
  const { memoryMiB: usedMemoryMiB, vcpus: usedVcpus, diskMiB: promisedDiskMiB } = usage.get(node.id) ?? noUsage;
  return { ...node, state: stateOf(parts, node), vms, usedMemoryMiB, usedVcpus, promisedDiskMiB };
}

function stateOf(parts: Parts, node: NodeRecord): NodeView["state"] {
  if (!isReachable(parts, node.id)) return "unreachable";
  if (node.id === parts.options.nodeId) return "ready";
  const progress = progressOf(parts, node.id);
  const { commitIndex } = parts.raft.status.value;
  const ready =
    progress !== undefined && progress.learner !== votes(node) && progress.match + readyLagEntries >= commitIndex;
  return ready ? "ready" : "catching-up";
}
