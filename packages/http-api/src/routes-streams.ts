/**
 * The streams of the node service, made from the contract: a GET with the flag of the stream is answered with a body that
 * does not end. What fails before the node has accepted it is an answer like any other; what fails later is its last item.
 */
import { BlixardError, notApplied } from "@blixard/common";
import {
  authorize,
  pathFields,
  type StreamMethod,
  type StreamName,
  type StreamRequestOf,
  streamHeartbeatMs,
  streamMediaTypes,
  streams,
} from "@blixard/protocol";
import { callMetaOf } from "./call-meta.ts";
import type { Answer, Exchange } from "./exchange.ts";
import { type FieldTypes, fieldTypesOf, queryFields, typedField } from "./field-types.ts";
import { errorAnswer } from "./http-errors.ts";
import { httpLimits } from "./http-types.ts";
import { bindHttpMetrics } from "./metrics.ts";
import { callerOf, type RouteContext } from "./route-context.ts";
import type { Handle } from "./route-table.ts";
import { streamBody } from "./stream-body.ts";

export function addStreamRoutes(context: RouteContext): void {
  const open = new OpenStreams(context);
  for (const [name, { http, request: schema }] of Object.entries(streams) as [StreamName, StreamMethod][]) {
    if (http === undefined) continue;
    const types = fieldTypesOf(schema);
    const handle: Handle = (exchange) =>
      answerStream(context, open, exchange, name, requestFields(exchange, http, types));
    context.routes.add("GET", http.path, handle, http.flag);
  }
}

function requestFields(
  exchange: Exchange,
  route: { readonly path: string; readonly flag: string },
  types: FieldTypes,
): Record<string, unknown> {
  const fields = queryFields(types, exchange.queryFields(), ["consistency", route.flag]);
  for (const field of pathFields(route)) fields[field] = typedField(types, field, exchange.params[field] ?? "");
  return fields;
}

async function answerStream(
  context: RouteContext,
  open: OpenStreams,
  exchange: Exchange,
  name: StreamName,
  fields: Record<string, unknown>,
): Promise<Answer> {
  const caller = callerOf(context.deps, exchange);
  const { requestId } = exchange;
  const meta = callMetaOf(exchange, requestId, caller);
  const { logger, clock } = context.deps;
  authorize(name, streams[name].access, caller.access);
  const signal = open.add(exchange);
  signal.throwIfAborted();
  const items = await context.deps.service().stream(name, fields as StreamRequestOf<typeof name>, meta, { signal });
  const events = (exchange.header("accept") ?? "").includes(streamMediaTypes.events);
  const body = streamBody(items, events ? "events" : "lines", {
    clock,
    lastItem: (error) => errorAnswer(error, requestId, false, logger).body,
  });
  // Proxies pass on each piece as it comes.
  exchange.setHeader("x-accel-buffering", "no");
  return { status: 200, type: events ? streamMediaTypes.events : streamMediaTypes.lines, body };
}

const stalledMsMaxDefault = 3 * streamHeartbeatMs;

/** How many streams are open, and when each ends. */
class OpenStreams {
  readonly #gauge: ReturnType<typeof bindHttpMetrics>["streams"];
  readonly #stalledMsMax: number;
  #count = 0;

  constructor({ deps, options }: RouteContext) {
    this.#stalledMsMax = options.streamStalledMsMax ?? stalledMsMaxDefault;
    this.#gauge = bindHttpMetrics(deps.metrics).streams;
    this.#gauge.set(0);
  }

  /** A signal that aborts when the answer to `exchange` has ended, or its caller has gone. @throws OVERLOADED */
  add(exchange: Exchange): AbortSignal {
    if (this.#count >= httpLimits.streamsMax) {
      throw notApplied("OVERLOADED", `${this.#count} streams are open already`);
    }
    const left = new AbortController();
    const { incoming, outgoing } = exchange;
    const { socket } = incoming;
    this.#change(1);
    const end = () => {
      if (left.signal.aborted) return;
      socket.off("close", end);
      this.#change(-1);
      left.abort(new BlixardError("CANCELLED", "the caller has gone"));
    };
    // An answer that waits behind others on its connection is not told when that connection ends.
    socket.once("close", end);
    outgoing.once("close", end);
    if (outgoing.destroyed || socket.destroyed) end();
    // Each heartbeat is a write: a caller that takes none for so long holds its place no longer.
    else outgoing.setTimeout(this.#stalledMsMax, () => outgoing.destroy());
    return left.signal;
  }

  #change(by: number): void {
    this.#count += by;
    this.#gauge.set(this.#count);
  }
}
