/**
 * The steps that every call takes, on a node that serves and on one that is still starting; streams share the first ones:
 *
 *     identify  -> who calls: the key of the connection, or the token that HTTP has looked up
 *     authorize -> what the contract says of the method, against what the caller may
 *     level     -> what the method needs, against the feature level of the cluster
 *     validate  -> the request against its schema
 *     enter     -> what only the node that was asked first can add
 *     limit     -> the time of the caller
 *     place     -> where the method belongs, which is always here while the node starts; its handler runs there
 *     leave     -> what the node that was asked first has to know before its caller has the answer
 */
import { type Clock, notApplied, withDeadline, withTimeLimit } from "@blixard/common";
import {
  authorize,
  type CallMeta,
  encodeServiceResponse,
  type Method,
  type MethodName,
  methods,
  type StreamMethod,
  type StreamName,
  streams,
  understoodLevel,
} from "@blixard/protocol";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import type { IncomingCall } from "../ports/cluster-transport.ts";
import { clusterLevel, needsLevel, upgradeHint } from "../state-machine/level.ts";
import type { CallScope } from "./call-types.ts";
import { type IdentifyParts, identify } from "./identify.ts";
import { validate } from "./validate.ts";

/** What the first steps of calls and streams use of the node. */
export interface GateParts {
  readonly stateMachine: Pick<ClusterStateMachine, "state">;
  readonly options: { readonly featureLevel: number; readonly nodeId: number };
}

/** A call whose caller is known. */
export interface AskedCall {
  readonly name: MethodName;
  readonly request: unknown;
  readonly meta: CallMeta;
  readonly signal: AbortSignal | undefined;
  /** The key that shows a ticket; undefined for methods that take none. */
  readonly ticketShownBy?: string | undefined;
}

/** The steps in which nodes differ, and what the others use. */
export interface CallSteps {
  readonly parts: GateParts & IdentifyParts & { readonly clock: Clock };
  /** Goes around the steps behind `identify`, which may throw at once, to measure them and to slow down those that guess. */
  readonly around: (call: AskedCall, steps: () => Promise<unknown>) => Promise<unknown>;
  readonly enter: (name: MethodName, request: unknown, endpointId: string) => unknown;
  readonly place: (name: MethodName, request: unknown, call: CallScope) => Promise<unknown>;
  readonly leave: (name: MethodName, answer: unknown, signal: AbortSignal) => Promise<void>;
}

/** Answers a call of the transport's RPC lane. @throws BlixardError */
export async function takeRpcCall(
  steps: CallSteps,
  incoming: IncomingCall,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const accessOf = (asked: string) => methods[methodNameOf(asked)].access;
  const { name, ...identified } = identify(steps.parts, incoming, accessOf);
  return encodeServiceResponse(await takeCall(steps, { ...identified, name: methodNameOf(name), signal }));
}

/** Takes a call whose caller was identified through the steps behind that. @throws BlixardError */
export function takeCall(steps: CallSteps, call: AskedCall): Promise<unknown> {
  return steps.around(call, () => {
    const { name, meta, signal, ticketShownBy } = call;
    const method: Method = methods[methodNameOf(name)];
    const valid = passGate(steps.parts, name, method, call);
    const request = ticketShownBy === undefined ? valid : steps.enter(name, valid, ticketShownBy);
    const place = (limited: AbortSignal) => {
      const answer = steps.place(name, request, { meta, signal: limited });
      return ticketShownBy === undefined ? answer : left(steps, name, answer, limited);
    };
    const { clock } = steps.parts;
    const { timeoutMs } = meta;
    // Calls of the leader and reads end by themselves when their signal aborts, and know then what may have happened.
    if (method.place === "leader" || method.place === "read") return withTimeLimit(clock, timeoutMs, signal, place);
    return withDeadline({ clock, timeoutMs, what: name, ...(signal === undefined ? {} : { signal }) }, place);
  });
}

async function left(
  { leave }: CallSteps,
  name: MethodName,
  placed: Promise<unknown>,
  signal: AbortSignal,
): Promise<unknown> {
  const answer = await placed;
  await leave(name, answer, signal);
  return answer;
}

/**
 * The steps `authorize`, `level` and `validate`: the request with its defaults.
 * @throws UNAUTHENTICATED, PERMISSION_DENIED, NEEDS_UPGRADE, INVALID_ARGUMENT
 */
export function passGate(
  parts: GateParts,
  name: MethodName | StreamName,
  method: Method | StreamMethod,
  { meta, request }: Pick<AskedCall, "meta" | "request">,
): unknown {
  authorize(name, method.access, meta.access);
  assertNotForNodes(name, method, meta);
  assertUnderstood(parts, name, method);
  return validate(method.request, request);
}

/**
 * What is read at the owner of a VM or of a volume is not replicated, so that no other member holds it: its key opens no console. People
 * and programs are served through voters, each in its own name. @throws PERMISSION_DENIED
 */
function assertNotForNodes(name: string, { place }: Method | StreamMethod, { access }: CallMeta): void {
  if (place !== "owner" || access !== "node") return;
  throw notApplied("PERMISSION_DENIED", `${name} is for people and programs: no node reads a console or a volume`);
}

/** A call that may go on to another member needs the level of the cluster, one that is answered here that of this node. */
function assertUnderstood(
  { stateMachine, options }: GateParts,
  name: string,
  { since = 0, place }: Method | StreamMethod,
): void {
  const { state } = stateMachine;
  const own = understoodLevel(options.featureLevel);
  if (since > own) {
    throw notApplied("NEEDS_UPGRADE", `${name} needs feature level ${since}, and this node understands ${own}`, {
      hint: upgradeHint(state, since),
    });
  }
  if (place !== "local" && since > clusterLevel(state)) throw needsLevel(state, since);
}

export function methodNameOf(name: string): MethodName {
  if (Object.hasOwn(methods, name)) return name as MethodName;
  throw unknownName("method", name, streams);
}

export function streamNameOf(name: string): StreamName {
  if (Object.hasOwn(streams, name)) return name as StreamName;
  throw unknownName("stream method", name, methods);
}

/** A name that stands nowhere in this contract is that of a later release. */
function unknownName(what: string, name: string, others: object) {
  const code = Object.hasOwn(others, name) ? "INVALID_ARGUMENT" : "NEEDS_UPGRADE";
  return notApplied(code, `this release has no ${what} ${name.slice(0, 64)}`, {
    hint: "Use nodes and tools of one release.",
  });
}
