/** Members: their roles, how they leave, and which of them leads. */

import { type BlixardError, notApplied } from "@blixard/common";
import { commands, type ParsedRequestOf, withoutLaterFields } from "@blixard/protocol";
import { asNodeId } from "@blixard/raft";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { memberStatuses } from "../peers/member-statuses.ts";
import { isReachable, votes } from "../peers/reachability.ts";
import { bestSuccessor } from "../peers/successor.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { removalHint, unnamedVms, vmsOn, vmsRefusal } from "../state-machine/node.ts";
import { keysOf } from "../state-machine/node-key.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { byNodeId, nodeOf } from "./node.ts";
import { pageOf } from "./page.ts";
import { refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type MemberParts = Pick<NodeParts, "options" | "raft" | "transport" | "bulkRoutes" | "stateMachine" | "proposals">;

type MemberMethods = "member.list" | "member.remove" | "member.setRole" | "member.vouch" | "leader.transfer";

export function memberHandlers(parts: MemberParts): Pick<Handlers, MemberMethods> {
  return {
    "member.list": async (asked) =>
      pageOf(memberStatuses(parts), asked, {
        ...byNodeId,
        index: parts.stateMachine.version.value.appliedIndex,
      }),
    "member.remove": (request, call) => removeMember(parts, request, call),
    "member.setRole": async ({ id, role, force }, call) => {
      refuseIfMatch(call, "a member");
      const node = nodeOf(parts, id);
      if (role === "witness") assertRunsNoVms(parts, id, force, "A witness runs none. Delete them first");
      if (votes(node) && !votes({ role })) {
        assertQuorumStays(parts, id, force);
        if (id === parts.options.nodeId) await handOver(parts, call);
      }
      const { index, term } = await parts.proposals.propose({ type: "node.update", nodeId: id, role }, call);
      return { index, term };
    },
    "member.vouch": async ({ id, endpointId, appliedIndex }) => {
      const { state, version } = parts.stateMachine;
      const record = state.nodes.get(nodeKey(id));
      const knowsMore = version.value.appliedIndex >= appliedIndex;
      const isKnown = record !== undefined && keysOf(record).includes(endpointId) && !state.banned.has(endpointId);
      return { vouches: knowsMore && isKnown && votes(record) };
    },
    "leader.transfer": async ({ to }, call) => {
      const target = to === undefined ? bestSuccessor(parts) : nodeOf(parts, to).id;
      if (target === undefined) throw conflict("no other voter can take over");
      if (target !== parts.options.nodeId) {
        if (!parts.raft.status.value.confState.voters.includes(asNodeId(target))) {
          throw conflict(`node ${target} is no voter`);
        }
        await parts.raft.transferLeader(asNodeId(target), { signal: call.signal });
      }
      const { leaderId, term } = await parts.raft.status.until((status) => status.leaderId !== 0, {
        signal: call.signal,
      });
      return { leaderId, term };
    },
  };
}

const vmsInDetailsMax = 1_000;

/** Writes into the log that the member shall leave, and waits until the duties of the leader have removed it. */
async function removeMember(parts: MemberParts, request: ParsedRequestOf<"member.remove">, call: CallScope) {
  const { id, force, acceptTwoCopies: named = [] } = request;
  refuseIfMatch(call, "a member");
  if (named.length > 0 && !force) {
    throw notApplied("INVALID_ARGUMENT", "acceptTwoCopies is for a removal by force");
  }
  const node = parts.stateMachine.state.nodes.get(nodeKey(id));
  // A node that is not there may have been removed by this very request, whose answer was lost: `apply` knows.
  if (node !== undefined && votes(node)) assertQuorumStays(parts, id, force);
  const vms = unnamedVms(parts.stateMachine.state, id, named);
  if (vms.length > 0) {
    const details = { vms: vms.slice(0, vmsInDetailsMax).map(({ name }) => name) };
    throw notApplied("CONFLICT", vmsRefusal(id, vms), { hint: removalHint(vms), details });
  }
  // A VM may get its place there before the entry is applied: then the state machine refuses.
  const leave = { nodeId: id, leaving: true as const, acceptTwoCopies: [...named] };
  const level = clusterLevel(parts.stateMachine.state);
  const fields = withoutLaterFields(commands["node.update"].body, leave, level);
  if (id === parts.options.nodeId) await handOver(parts, call);
  const { index, term } = await parts.proposals.propose({ type: "node.update", ...fields }, call);
  await parts.stateMachine.version.until(() => !parts.stateMachine.state.nodes.has(nodeKey(id)), {
    signal: call.signal,
  });
  return { index, term };
}

/** @throws CONFLICT */
function assertRunsNoVms(parts: MemberParts, id: number, force: boolean, hint: string): void {
  const vms = vmsOn(parts.stateMachine.state, id);
  if (vms.length === 0 || force) return;
  throw notApplied("CONFLICT", `node ${id} has ${vms.length} VMs, for example ${vms[0]?.name}`, {
    hint: `${hint}.`,
  });
}

/** Hands leadership over, because a leader cannot remove itself. The caller asks the new leader after NOT_LEADER. */
export async function handOver(parts: MemberParts, call: CallScope): Promise<never> {
  const successor = bestSuccessor(parts);
  if (successor === undefined) throw conflict("no other voter can take over from this leader");
  await parts.raft.transferLeader(asNodeId(successor), { signal: call.signal });
  throw notApplied("NOT_LEADER", `node ${successor} leads now`, {
    details: { leaderId: successor },
  });
}

/** @throws QUORUM_AT_RISK when the voters that remain would not have a majority that answers */
export function assertQuorumStays(parts: MemberParts, id: number, force: boolean): void {
  const remaining = sortedRecords(parts.stateMachine.state, "nodes").filter(
    (node) => votes(node) && !node.leaving && node.id !== id,
  );
  const answering = remaining.filter((node) => isReachable(parts, node.id)).length;
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
  throw notApplied("QUORUM_AT_RISK", message, { hint });
}

function conflict(message: string): BlixardError {
  return notApplied("CONFLICT", message);
}
