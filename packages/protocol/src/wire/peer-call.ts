/**
 * The one way to call a method of another node: encode, limit, call, read the answer. What carries the bytes is a port;
 * who routes and repeats stands above.
 */
import { BlixardError, type Clock, withTimeLimit } from "@blixard/common";
import type { CallMeta } from "../api/access.ts";
import {
  type MethodName,
  methods,
  type RequestOf,
  type ResponseOf,
  type StreamInputOf,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
  streams,
} from "../api/contract.ts";
import {
  decodeServiceResponse,
  decodeStreamItems,
  encodeServiceCall,
  encodeStreamItems,
  forwardRpcMethod,
} from "./service-call-codec.ts";

export interface PeerCallLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Carries the bytes of a call to a node: the `call` of a transport. */
export type PeerCaller<To> = (
  to: To,
  method: string,
  payload: Uint8Array,
  options: PeerCallLimits,
) => Promise<Uint8Array>;

/** Carries a stream of bytes from a node, and one to it: the `stream` of a transport. */
export type PeerStreamer<To> = (
  to: To,
  method: string,
  payload: Uint8Array,
  options: PeerCallLimits & { readonly input?: AsyncIterable<Uint8Array> },
) => Promise<AsyncIterable<Uint8Array>>;

export interface PeerCallOptions {
  readonly meta: CallMeta;
  /** How long the caller waits. Default: what `meta` says. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** True for a member that passes on a call in the name of its first caller. */
  readonly forwarded?: boolean;
}

/**
 * Calls `name` at `to`.
 * @throws what the other side answers, the errors of the way there (UNREACHABLE, DEADLINE_EXCEEDED), and
 * ANSWER_UNREADABLE
 */
export async function callPeer<To, Name extends MethodName>(
  deps: { readonly clock: Clock; readonly call: PeerCaller<To> },
  to: To,
  name: Name,
  request: RequestOf<Name>,
  options: PeerCallOptions,
): Promise<ResponseOf<Name>> {
  const { meta, timeoutMs = meta.timeoutMs, forwarded } = options;
  const payload = encodeServiceCall({ name, request, meta });
  const bytes = await withTimeLimit(deps.clock, timeoutMs, options.signal, (signal) =>
    deps.call(to, forwarded ? forwardRpcMethod : name, payload, { timeoutMs, signal }),
  );
  return readAnswer(name, () => decodeServiceResponse(bytes));
}

/**
 * Opens the stream `name` at `to`; resolves when the other side has accepted it. It lives until `signal` aborts, or its
 * reader stops. @throws as `callPeer`, and so do the items
 */
export async function openPeerStream<To, Name extends StreamName>(
  deps: { readonly stream?: PeerStreamer<To> | undefined },
  to: To,
  name: Name,
  request: StreamRequestOf<Name>,
  options: PeerCallOptions & { readonly input?: AsyncIterable<StreamInputOf<Name>> | undefined },
): Promise<AsyncIterable<StreamOutputOf<Name>>> {
  const { meta, timeoutMs = meta.timeoutMs, forwarded, signal, input } = options;
  if (deps.stream === undefined)
    throw new BlixardError("UNSUPPORTED", "the connection to this node carries no streams");
  const payload = encodeServiceCall({ name, request, meta });
  const items = await deps.stream(to, forwarded ? forwardRpcMethod : name, payload, {
    timeoutMs,
    ...(signal === undefined ? {} : { signal }),
    ...(input === undefined ? {} : { input: encodeStreamItems(input) }),
  });
  return decodeStreamItems(items, streams[name].output, (cause) => unreadable(name, cause)) as AsyncIterable<
    StreamOutputOf<Name>
  >;
}

/** Reads the answer to `name`, whatever carried it. @throws ANSWER_UNREADABLE */
export function readAnswer<Name extends MethodName>(name: Name, answer: () => unknown): ResponseOf<Name> {
  const { response, writes } = methods[name];
  try {
    return response.parse(answer()) as ResponseOf<Name>;
  } catch (error) {
    throw unreadable(name, error, writes);
  }
}

/** The one error for an answer or an item that is not in its form. */
export function unreadable(name: string, cause: unknown, writes = false): BlixardError {
  return new BlixardError("ANSWER_UNREADABLE", `the answer to ${name} cannot be read`, {
    cause,
    outcome: writes ? "unknown" : "not_applied",
    hint: "Is the node of another release than this program?",
  });
}
