/** How a decision of a handler or of a duty gets into the log. */
import { type Clock, notApplied } from "@blixard/common";
import {
  type Command,
  type CommandBody,
  type CommandTable,
  commands,
  decidedAt,
  encodeCommand,
  entryLevel,
} from "@blixard/protocol";
import type { RaftNode } from "@blixard/raft";
import type { CallScope } from "../calls/call-types.ts";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import type { Proposed } from "../node-parts.ts";
import type { AppliedCommand } from "../state-machine/apply-command.ts";
import { clusterLevel, membersBelow, needsLevel } from "../state-machine/level.ts";
import type { ClusterState } from "../state-machine/types.ts";

export interface ProposeDeps {
  readonly clock: Clock;
  readonly raft: Pick<RaftNode<AppliedCommand>, "propose">;
  readonly stateMachine: Pick<ClusterStateMachine, "state">;
}

/**
 * Proposes a command on this leader and resolves when it was applied here.
 * `Value` is what `apply` answers to this command. @throws what `apply` refused with, NEEDS_UPGRADE when a member would
 * not understand the command, INVALID_ARGUMENT when no replica would, and the errors of `RaftNode.propose`
 */
export async function propose<Value = unknown>(
  deps: ProposeDeps,
  body: CommandBody,
  call: CallScope,
): Promise<Proposed<Value>> {
  const { meta, signal } = call;
  const command: Command = {
    requestId: meta.requestId,
    atUnixMs: deps.clock.unixMs(),
    actor: meta.actor,
    ...(meta.ifMatchIndex === undefined ? {} : { ifMatchIndex: meta.ifMatchIndex }),
    body,
  };
  const bytes = encodeCommand(command);
  assertMayPropose(deps.stateMachine.state, body, entryLevel(bytes));
  const { result: applied } = await deps.raft.propose(bytes, { signal });
  const { result, index, term } = applied;
  if (result.ok) return { index, term, value: result.value as Value };
  throw notApplied(result.code, result.message, {
    ...(result.hint === undefined ? {} : { hint: result.hint }),
    // Without a request id each attempt is a command of its own.
    ...(meta.requestId === "" ? {} : { details: decidedAt(index) }),
  });
}

/** An entry above the level of the cluster would stop the members that do not understand it. @throws NEEDS_UPGRADE */
function assertMayPropose(state: ClusterState, body: CommandBody, needed: number): void {
  if (needed <= clusterLevel(state)) return;
  const { raisesLevelTo } = (commands as CommandTable)[body.type] ?? {};
  if (raisesLevelTo !== undefined && membersBelow(state, needed).length === 0) return;
  throw needsLevel(state, needed);
}

/** The scope of a command that is safe to repeat, so that the state need not remember its request id. */
export function unremembered(call: CallScope): CallScope {
  return { ...call, meta: { ...call.meta, requestId: "" } };
}

/** Refuses `If-Match` for records that show no index to the caller, such as nodes and images. @throws UNSUPPORTED */
export function refuseIfMatch(call: CallScope, what: string): void {
  if (call.meta.ifMatchIndex === undefined) return;
  throw notApplied("UNSUPPORTED", `${what} cannot be changed with an expected index`, {
    hint: "Leave out --if-match; it works for keys and VMs.",
  });
}
