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
import { type FieldTypes, fieldTypesOf, queryFields, typedField } from "./field-types.ts";
import type { HttpContext } from "./http-context.ts";
import { httpLimits } from "./http-types.ts";
import { readBytes, readJsonObject } from "./request-body.ts";
import { addRoute, anonymous, metaSource, type RouteContext } from "./route-context.ts";

/** Adds every route of every method; those for diagnosis only when the node was asked to serve them. */
export function addCallRoutes(context: RouteContext): void {
  for (const [name, method] of Object.entries(methods) as [HttpMethodName, Method][]) {
    const types = fieldTypesOf(method.request);
    for (const route of method.http ?? []) {
      if (route.debug && !context.options.debugApi) continue;
      const inPath = pathFields(route);
      addRoute(context, route.verb, route.path, async (request) => {
        const caller = method.access === "anyone" ? anonymous : await context.authenticate(request);
        // By the rule of the service, which applies it too: a body is read only from a caller that has the right.
        authorize(name, method.access, caller.access);
        const fields = await requestFields(request, route, inPath, types);
        const meta = callMetaOf(metaSource(request), request.get("requestId"), caller);
        return answerCall(
          request,
          route,
          await context.deps.service().call(name, fields as RequestOf<typeof name>, meta),
        );
      });
    }
  }
}

/**
 * The fields of the path, then those of the query or the body. A route that stands for fields takes those and its path.
 * What a route does not look at is refused: its caller meant something by it.
 */
async function requestFields(
  request: HttpContext,
  route: HttpRoute,
  inPath: readonly string[],
  types: FieldTypes,
): Promise<Record<string, unknown>> {
  const fromPath: Record<string, unknown> = { ...route.fixed };
  for (const field of inPath) fromPath[field] = typedField(types, field, request.req.param(field) ?? "");
  const query = queryFields(types, request.req.query());
  if (route.verb === "GET" || route.verb === "DELETE") {
    if (route.fixed !== undefined) refuseFields(query);
    if (route.verb === "DELETE") refuseFields(await readJsonObject(request.env.incoming));
    return { ...query, ...fromPath };
  }
  refuseFields(query);
  if (route.fixed !== undefined) {
    refuseFields(await readJsonObject(request.env.incoming));
    return fromPath;
  }
  if (route.bytes === "request") {
    const data = await readBytes(request.env.incoming, httpLimits.consolePendingBytesMax);
    return { data: new Uint8Array(data), ...fromPath };
  }
  return { ...(await readJsonObject(request.env.incoming)), ...fromPath };
}

/** @throws INVALID_ARGUMENT */
function refuseFields(fields: Readonly<Record<string, unknown>>): void {
  const [field] = Object.keys(fields);
  if (field === undefined) return;
  throw notApplied("INVALID_ARGUMENT", `${field}: this route takes no such field here`, {
    hint: "What each route takes stands in /v1/openapi.json.",
  });
}

function answerCall(request: HttpContext, route: HttpRoute, result: object): Response {
  if (route.bytes === "response") return answerConsole(request, result as ConsolePiece);
  if (route.whole !== undefined) return request.json((result as Record<string, unknown>)[route.whole]);
  if (route.merged === undefined) return request.json(result, route.successStatus ?? 200);
  const { [route.merged]: record, ...rest } = result as Record<string, unknown>;
  if (typeof record !== "object") throw new BlixardError("INTERNAL", `the answer has no ${route.merged}`);
  return request.json({ ...record, ...rest }, route.successStatus ?? 200);
}

interface ConsolePiece {
  readonly offset: number;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly endOffset: number;
}

/** Serial output as JSON, or as it is for whoever asks for bytes or plain text. */
function answerConsole(request: HttpContext, piece: ConsolePiece): Response {
  const accept = request.req.header("accept") ?? "";
  request.header(headers.consoleOffset, String(piece.offset));
  request.header(headers.consoleEndOffset, String(piece.endOffset));
  const raw = /^(application\/octet-stream|text\/plain)\b/.exec(accept)?.[1];
  if (raw !== undefined) return request.body(piece.data, 200, { "content-type": raw });
  const bytes = Buffer.from(piece.data);
  const { offset, endOffset } = piece;
  return request.json({ offset, endOffset, text: bytes.toString("utf8"), dataBase64: bytes.toString("base64") });
}
