/**
 * What the holder of a token or a key may do now. The state of the node that asks is what counts, and it is asked more than
 * once: where a call comes in, where it is decided, and for as long as a stream lasts.
 */
import { BlixardError, type Clock, firstOf, notApplied, sleep } from "@blixard/common";
import type { Actor, CallMeta, TokenRecord } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { nodeKey } from "../state-machine/state.ts";
import { isCurrent } from "../state-machine/token.ts";
import type { ClusterState } from "../state-machine/types.ts";
import type { CallScope } from "./call-types.ts";
import { waitForReadIndex } from "./owner-route.ts";

/** What these rules use of the node. */
type RightsParts = Pick<NodeParts, "clock" | "raft" | "options" | "stateMachine" | "leaderContact">;

/**
 * The meta with the access that the caller has now, as the state of this node says: where the call is decided, it may know
 * more of the caller than the node that was asked first. It may know less too, and then catches up before it refuses.
 * @throws UNAUTHENTICATED when its token is good for nothing any more
 */
export function withRightsNow(parts: RightsParts, call: CallScope): CallMeta | Promise<CallMeta> {
  const { actor, hops } = call.meta;
  if (actor.kind !== "token") return call.meta;
  const { clock, stateMachine } = parts;
  if (hops === 0 || isKnown(stateMachine.state, actor, clock.unixMs())) return rightsHere(parts, call);
  return waitForReadIndex(parts, call.signal).then(() => rightsHere(parts, call));
}

/** @throws UNAUTHENTICATED */
function rightsHere({ clock, stateMachine }: RightsParts, { meta }: CallScope): CallMeta {
  const { actor, access } = meta;
  const refusal = refusalOf(stateMachine.state, actor, clock.unixMs());
  if (refusal !== undefined) throw refusal;
  const role = stateMachine.state.tokens.get(actor.id)?.role ?? access;
  return role === access ? meta : { ...meta, access: role };
}

/**
 * Resolves with the reason when the caller has lost its rights, or nobody can be asked any more whether it has. Rejects when
 * `signal` aborts.
 */
export async function untilRightsEnd(
  parts: RightsParts,
  { actor }: CallMeta,
  signal: AbortSignal,
): Promise<BlixardError> {
  const { stateMachine, clock, leaderContact } = parts;
  const isGone = () => !isKnown(stateMachine.state, actor, clock.unixMs());
  const endMs = actor.kind === "token" ? stateMachine.state.tokens.get(actor.id)?.expiresUnixMs : undefined;
  await firstOf(signal, (until) => [
    stateMachine.version.until(isGone, { signal: until }),
    ...(actor.kind === "token" ? [leaderContact.untilLost(until)] : []),
    ...(endMs === undefined ? [] : [untilTime(clock, endMs, until)]),
  ]);
  if (!isGone()) return leaderContact.refusal();
  return new BlixardError("UNAUTHENTICATED", `the ${actor.kind} ${actor.id} has no rights here any more`);
}

/** Looks at the wall clock again now and then: it may be set, and a timer holds no years. */
async function untilTime(clock: Clock, endUnixMs: number, signal: AbortSignal): Promise<void> {
  for (let leftMs = endUnixMs - clock.unixMs(); leftMs > 0; leftMs = endUnixMs - clock.unixMs()) {
    await sleep(clock, Math.min(leftMs, lookAgainMs), signal);
  }
}

const lookAgainMs = 3_600_000;

/** Whether the caller has any right at all, as the state says. */
function isKnown(state: ClusterState, actor: Actor, nowUnixMs: number): boolean {
  if (actor.kind === "token") return refusalOf(state, actor, nowUnixMs) === undefined;
  return actor.kind === "system" || state.nodes.has(nodeKey(Number(actor.id)));
}

function refusalOf(state: ClusterState, { id }: Actor, nowUnixMs: number): BlixardError | undefined {
  if (isCurrent(state, id, nowUnixMs)) return undefined;
  return notApplied("UNAUTHENTICATED", `the token ${id} ${goneBecause(state.tokens.get(id))}`, {
    hint: "Ask an administrator for another: blixard token create, or ticket create.",
  });
}

function goneBecause(record: TokenRecord | undefined): string {
  if (record === undefined || record.revoked) return "was revoked";
  return record.tokenHash === undefined && record.endpointId === undefined ? "is being made anew" : "has expired";
}
