/** How a decision of a handler or of a duty gets into the log. */
import { abortReason, BlixardError, type Clock, notApplied, offAbort, onAbort, SerialQueue } from "@blixard/common";
import {
  type Command,
  type CommandBody,
  type CommandResult,
  type CommandTable,
  commands,
  decidedAt,
  encodeCommand,
  entryLevel,
} from "@blixard/protocol";
import type { RaftNode } from "@blixard/raft";
import type { CallScope } from "../calls/call-types.ts";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import type { Proposals, Proposed } from "../node-parts.ts";
import type { MemberBudgets } from "../peers/member-budgets.ts";
import type { AppliedCommand } from "../state-machine/apply-command.ts";
import { clusterLevel, membersBelow, needsLevel } from "../state-machine/level.ts";
import type { ClusterState } from "../state-machine/types.ts";

export interface ProposeDeps {
  readonly clock: Clock;
  readonly raft: Pick<RaftNode<AppliedCommand>, "propose">;
  readonly stateMachine: Pick<ClusterStateMachine, "state">;
  readonly budgets: Pick<MemberBudgets, "spendLogBytes">;
}

/**
 * Proposes a command on this leader and resolves when it was applied here.
 * `Value` is what `apply` answers to this command. @throws what `apply` refused with, OVERLOADED for a member that proposes
 * too much, NEEDS_UPGRADE when a member would not understand the command, INVALID_ARGUMENT when no replica would, and the
 * errors of `RaftNode.propose`
 *
 * An entry that raises the level of the cluster stops a member that does not understand it, also when `apply` refuses it.
 * So it must not stand behind one that brings such a member and is not applied yet: what changes the levels of members
 * and what raises that of the cluster are proposed one at a time, each when the outcome of the one before is known, and
 * are looked at only then. A leader begins with an entry of its own term applied, and takes no proposals of others, so
 * nothing that it did not propose itself stands in between.
 */
export function createProposals(deps: ProposeDeps): Proposals {
  const levelChanges = new SerialQueue();
  return {
    propose: <Value>(body: CommandBody, call: CallScope) =>
      changesLevels(body)
        ? inTurn(levelChanges, call.signal, () => propose<Value>(deps, body, { ...call, signal: untilKnown }))
        : propose<Value>(deps, body, call),
  };
}

/** The turn of an entry lasts until its outcome is known, whoever waits for it: Raft tells it when this node stops leading. */
const untilKnown = new AbortController().signal;

/** Commands after which the members understand something else, or have to. */
function changesLevels(body: CommandBody): boolean {
  if (body.type === "node.update") return body.featureLevel !== undefined;
  return body.type === "node.admit" || (commands as CommandTable)[body.type]?.raisesLevelTo !== undefined;
}

/** Runs `work` in its turn, unless `signal` has aborted before. Rejects when it aborts; work that has begun goes on. */
function inTurn<T>(turns: SerialQueue, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortReason(signal));
    onAbort(signal, abort);
    turns
      .run(async () => {
        if (signal.aborted) throw abortReason(signal);
        return await work();
      })
      .then(resolve, reject)
      .finally(() => offAbort(signal, abort));
  });
}

async function propose<Value>(deps: ProposeDeps, body: CommandBody, call: CallScope): Promise<Proposed<Value>> {
  const { meta, signal } = call;
  const command = commandOf(deps, body, call);
  const bytes = encodeCommand(command);
  assertMayPropose(deps.stateMachine.state, body, entryLevel(bytes));
  if (meta.access === "node" && meta.actor.kind === "node") {
    deps.budgets.spendLogBytes(Number(meta.actor.id), bytes.length);
  }
  const { result: applied } = await deps.raft.propose(bytes, { signal });
  const { result, index, term } = applied;
  if (result.ok) return { index, term, value: result.value as Value };
  if (result.code === "REQUEST_FORGOTTEN") throw forgottenError(result);
  throw notApplied(result.code, result.message, {
    ...(result.hint === undefined ? {} : { hint: result.hint }),
    // Without a request id each attempt is a command of its own.
    ...(meta.requestId === "" ? {} : { details: decidedAt(index) }),
  });
}

/** The order of its fields is that of its bytes. */
function commandOf({ clock, stateMachine }: ProposeDeps, body: CommandBody, { meta, requestHash }: CallScope): Command {
  const { requestId, actor, ifMatchIndex, sinceIndex } = meta;
  const command: { -readonly [Field in keyof Omit<Command, "body">]: Command[Field] } = {
    requestId,
    atUnixMs: clock.unixMs(),
    actor,
  };
  if (ifMatchIndex !== undefined) command.ifMatchIndex = ifMatchIndex;
  // Members of before level 3 know no such fields. Without a request id nothing is remembered.
  if (requestId !== "" && clusterLevel(stateMachine.state) >= rememberedPartsLevel) {
    if (requestHash !== undefined) command.requestHash = requestHash;
    if (sinceIndex !== undefined) command.sinceIndex = sinceIndex;
  }
  return { ...command, body };
}

const rememberedPartsLevel = 3;

/** The only answer of the state machine that does not say what became of the request. */
function forgottenError({ code, message, hint }: CommandResult & { readonly ok: false }): BlixardError {
  return new BlixardError(code, message, { ...(hint === undefined ? {} : { hint }), outcome: "unknown" });
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

/**
 * What is made with a secret is remembered without it: who asks again under the same request id makes nothing, and cannot be
 * told the secret. @throws ALREADY_EXISTS with the id in its details
 */
export function assertMadeNow(madeId: string, ownId: string, what: "token" | "ticket"): void {
  if (madeId === ownId) return;
  throw new BlixardError(
    "ALREADY_EXISTS",
    `this request has made the ${what} ${madeId} already; its text is not kept`,
    {
      hint: `Where its text was lost, revoke it and make another one: blixard ${what} revoke ${madeId}`,
      details: { id: madeId },
      outcome: "unknown",
    },
  );
}

/** Refuses `If-Match` for records that show no index to the caller, such as nodes and images. @throws UNSUPPORTED */
export function refuseIfMatch(call: CallScope, what: string): void {
  if (call.meta.ifMatchIndex === undefined) return;
  throw notApplied("UNSUPPORTED", `${what} cannot be changed with an expected index`, {
    hint: "Leave out --if-match; it works for keys and VMs.",
  });
}
