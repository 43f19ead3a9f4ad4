/**
 * The replicated state machine: a pure function of the state and one log entry. It reads no clock and draws no random
 * number, depends on no order of a map, and never throws for a bad command; it answers `{ ok: false, code }`, alike on
 * every replica.
 *
 *     entry -> repeated request id? -> first answer, nothing changes
 *           -> command by type      -> result, changes
 *           -> + the row that remembers the request id, - the row that leaves the window
 */
import { type Command, type CommandResult, type CommandTable, commandSubject, limits } from "@blixard/protocol";
import { appliers } from "./appliers.ts";
import { clusterLevel } from "./level.ts";
import { refusal, refuse } from "./outcomes.ts";
import { requestRowKey } from "./state.ts";
import { isCurrent, ownTokensLevel } from "./token.ts";
import type { ApplierTable, Change, ClusterState, CommandEntry, Outcome, Position, RequestRecord } from "./types.ts";

/** What an entry led to: now, or when its request id was applied the first time. */
export interface AppliedCommand {
  readonly result: CommandResult;
  /** Where the command stands that took effect. */
  readonly index: number;
  readonly term: number;
  /** True when this entry repeats an earlier one and changed nothing. */
  readonly repeated: boolean;
}

export interface Application {
  readonly applied: AppliedCommand;
  readonly changes: readonly Change[];
}

export interface ApplyOptions {
  /** Log entries over which a request id is remembered. Default `limits.requestWindowMax`. */
  readonly requestWindow?: number;
  /** The commands that the release knows, and what they do. Default: those of this release. */
  readonly commands?: CommandTable;
  readonly appliers?: ApplierTable;
}

/** Applies one command. Changes nothing by itself: the caller stores the changes. */
export function applyCommand(
  state: ClusterState,
  command: Command,
  at: Position,
  options: ApplyOptions = {},
): Application {
  const evicted = evictions(state, at, options);
  const refused = callerRefusal(state, command);
  // Not remembered: it is no answer to the request, and its caller may have rights again.
  if (refused !== undefined) return { applied: { result: refused, ...at, repeated: false }, changes: evicted };
  const key = requestKey(state, command);
  const first = key === undefined ? undefined : rememberedRequest(state, key, evicted);
  const subject = commandSubject(command.body, options.commands);
  if (first !== undefined) return repeat(first, { command, subject, at }, evicted);
  if (key !== undefined && mayBeForgotten(command, at, options)) {
    const result = refusal("REQUEST_FORGOTTEN", forgotten.message, forgotten.hint);
    return { applied: { result, ...at, repeated: false }, changes: evicted };
  }
  const outcome = dispatch(state, { ...at, command }, options.appliers ?? appliers);
  const applied = { result: outcome.result, index: at.index, term: at.term, repeated: false };
  const changes = [...outcome.changes, ...evicted];
  if (key !== undefined) {
    const value = {
      requestKey: key,
      index: at.index,
      term: at.term,
      command: subject,
      ...(command.requestHash === undefined ? {} : { requestHash: command.requestHash }),
      result: outcome.result,
    };
    changes.push({ table: "requests", key: requestRowKey(at.index), value });
  }
  return { applied, changes };
}

/** What every entry does that is no command: an old request id leaves the window. */
export function applyEmptyEntry(state: ClusterState, at: Position, options: ApplyOptions = {}): readonly Change[] {
  return evictions(state, at, options);
}

/** An entry whose bytes are no command. */
export function applyUnreadable(state: ClusterState, at: Position, options: ApplyOptions = {}): Application {
  const result = refusal("INVALID_ARGUMENT", "the log entry is no command");
  const applied = { result, index: at.index, term: at.term, repeated: false };
  return { applied, changes: evictions(state, at, options) };
}

/** Rows are keyed by log index and every entry takes out one, so the window is bounded without counting. */
function evictions(state: ClusterState, at: Position, options: ApplyOptions): Change[] {
  const evictedIndex = at.index - (options.requestWindow ?? limits.requestWindowMax);
  if (evictedIndex <= 0) return [];
  const key = requestRowKey(evictedIndex);
  return state.requests.has(key) ? [{ table: "requests", key, value: undefined }] : [];
}

/** Whether an attempt that its caller may have made before would have left the window by now. */
function mayBeForgotten({ sinceIndex }: Command, at: Position, options: ApplyOptions): boolean {
  return sinceIndex !== undefined && sinceIndex < at.index - (options.requestWindow ?? limits.requestWindowMax);
}

const forgotten = {
  message: "an earlier attempt of this request may have been applied, so long ago that it is forgotten",
  hint: "Look whether it was, and ask again with a new request id if not.",
} as const;

/** Whether this request was applied already, so that it is answered and does nothing. */
export function isRemembered(state: ClusterState, request: Pick<Command, "actor" | "requestId">): boolean {
  const key = requestKey(state, request);
  return key !== undefined && state.requestRows.has(key);
}

/**
 * Request ids of one caller never meet those of another, who could learn an answer by guessing an id. The tokens of the
 * nodes are one caller, because who asks again may ask another node.
 */
function requestKey(
  state: ClusterState,
  { actor, requestId }: Pick<Command, "actor" | "requestId">,
): string | undefined {
  if (requestId === "") return undefined;
  const ofNode = actor.kind === "token" && state.tokens.get(actor.id)?.node !== undefined;
  return ofNode ? `nodes/${requestId}` : `${actor.kind}/${actor.id}/${requestId}`;
}

/** From the entry that takes a token away on, nothing happens in its name. Before level 3 only the service looks at that. */
function callerRefusal(state: ClusterState, { actor, atUnixMs }: Command): CommandResult | undefined {
  if (actor.kind !== "token" || clusterLevel(state) < ownTokensLevel) return undefined;
  if (isCurrent(state, actor.id, atUnixMs)) return undefined;
  return refusal("UNAUTHENTICATED", `the token ${actor.id} was revoked or has expired`);
}

function rememberedRequest(state: ClusterState, key: string, evicted: readonly Change[]): RequestRecord | undefined {
  const row = state.requestRows.get(key);
  if (row === undefined || evicted.some((change) => change.key === row)) return undefined;
  return state.requests.get(row);
}

function repeat(
  first: RequestRecord,
  again: { readonly command: Command; readonly subject: string; readonly at: Position },
  evicted: readonly Change[],
): Application {
  const { command, subject, at } = again;
  const { requestHash: before } = first;
  const { requestHash: now } = command;
  const isOther = first.command !== subject || (before !== undefined && now !== undefined && before !== now);
  if (isOther) {
    const what = first.command === subject ? "the same command with other content" : "another command";
    const message = `the request id ${command.requestId} was used for ${what}: ${first.command}`;
    const result = refusal("CONFLICT", message, "Use a new request id for each command.");
    return { applied: { result, index: at.index, term: at.term, repeated: false }, changes: evicted };
  }
  const applied = { result: first.result, index: first.index, term: first.term, repeated: true };
  return { applied, changes: evicted };
}

/** The body of a command names the applier that takes it, which the index alone does not show. */
function dispatch(state: ClusterState, entry: CommandEntry, table: ApplierTable): Outcome {
  const { body } = entry.command;
  const applier = table[body.type];
  if (applier === undefined) return refuse("INVALID_ARGUMENT", "unknown command");
  return applier(state, body as never, entry);
}
