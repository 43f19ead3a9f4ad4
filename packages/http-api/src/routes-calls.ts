/** The routes that are calls of the node service, made from the contract. */
import { BlixardError, notApplied } from "@blixard/common";
import {
  authorize,
  type HttpMethodName,
  type HttpRoute,
  headers,
  type Method,
  methods,
  pathFields,
  type RequestOf,
} from "@blixard/protocol";
import { callMetaOf } from "./call-meta.ts";
import { type Answer, type Exchange, jsonAnswer } from "./exchange.ts";
import { type FieldTypes, fieldTypesOf, queryFields, typedField } from "./field-types.ts";
import { httpLimits } from "./http-types.ts";
import { readBytes, readJsonObject } from "./request-body.ts";
import { anonymous, callerOf, type RouteContext } from "./route-context.ts";

/** Adds every route of every method; those for diagnosis only when the node was asked to serve them. */
export function addCallRoutes(context: RouteContext): void {
  const { deps, options, routes } = context;
  for (const [name, method] of Object.entries(methods) as [HttpMethodName, Method][]) {
    const types = fieldTypesOf(method.request);
    for (const route of method.http ?? []) {
      if (route.debug && !options.debugApi) continue;
      const inPath = pathFields(route);
      routes.add(route.verb, route.path, async (exchange) => {
        const caller = method.access === "anyone" ? anonymous : callerOf(deps, exchange);
        // By the rule of the service, which applies it too: a body is read only from a caller that has the right.
        authorize(name, method.access, caller.access);
        const fields = await requestFields(exchange, route, inPath, types);
        const meta = callMetaOf(exchange, exchange.requestId, caller);
        return answerCall(exchange, route, await deps.service().call(name, fields as RequestOf<typeof name>, meta));
      });
    }
  }
}

/**
 * The fields of the path, then those of the query or the body. A route that stands for fields takes those and its path.
 * What a route does not look at is refused: its caller meant something by it.
 */
async function requestFields(
  exchange: Exchange,
  route: HttpRoute,
  inPath: readonly string[],
  types: FieldTypes,
): Promise<Record<string, unknown>> {
  const { incoming } = exchange;
  const query = queryFields(types, exchange.queryFields());
  if (route.verb === "GET" || route.verb === "DELETE") {
    if (route.fixed !== undefined) refuseFields(query);
    if (route.verb === "DELETE") refuseFields(await readJsonObject(incoming));
    return withPath(query, exchange, route, inPath, types);
  }
  refuseFields(query);
  if (route.fixed !== undefined) {
    refuseFields(await readJsonObject(incoming));
    return withPath({}, exchange, route, inPath, types);
  }
  if (route.bytes === "request") {
    const data = await readBytes(incoming, httpLimits.consolePendingBytesMax);
    return withPath({ data: new Uint8Array(data) }, exchange, route, inPath, types);
  }
  return withPath(await readJsonObject(incoming), exchange, route, inPath, types);
}

/** What the path says goes before everything else. */
function withPath(
  fields: Record<string, unknown>,
  { params }: Exchange,
  route: HttpRoute,
  inPath: readonly string[],
  types: FieldTypes,
): Record<string, unknown> {
  if (route.fixed !== undefined) Object.assign(fields, route.fixed);
  for (const field of inPath) fields[field] = typedField(types, field, params[field] ?? "");
  return fields;
}

/** @throws INVALID_ARGUMENT */
function refuseFields(fields: Readonly<Record<string, unknown>>): void {
  const [field] = Object.keys(fields);
  if (field === undefined) return;
  throw notApplied("INVALID_ARGUMENT", `${field}: this route takes no such field here`, {
    hint: "What each route takes stands in /v1/openapi.json.",
  });
}

function answerCall(exchange: Exchange, route: HttpRoute, result: object): Answer {
  if (route.bytes === "response") return answerConsole(exchange, result as ConsolePiece);
  if (route.whole !== undefined) return jsonAnswer((result as Record<string, unknown>)[route.whole]);
  if (route.merged === undefined) return jsonAnswer(result, route.successStatus);
  const { [route.merged]: record, ...rest } = result as Record<string, unknown>;
  if (typeof record !== "object") throw new BlixardError("INTERNAL", `the answer has no ${route.merged}`);
  return jsonAnswer({ ...record, ...rest }, route.successStatus);
}

interface ConsolePiece {
  readonly offset: number;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly endOffset: number;
}

/** Serial output as JSON, or as it is for whoever asks for bytes or plain text. */
function answerConsole(exchange: Exchange, piece: ConsolePiece): Answer {
  const accept = exchange.header("accept") ?? "";
  exchange.setHeader(headers.consoleOffset, String(piece.offset));
  exchange.setHeader(headers.consoleEndOffset, String(piece.endOffset));
  const raw = /^(application\/octet-stream|text\/plain)\b/.exec(accept)?.[1];
  if (raw !== undefined) return { status: 200, type: raw, body: piece.data };
  const bytes = Buffer.from(piece.data);
  const { offset, endOffset } = piece;
  return jsonAnswer({ offset, endOffset, text: bytes.toString("utf8"), dataBase64: bytes.toString("base64") });
}
