/** Routes that are calls of the node service, made from the table of `@blixard/client`. */

import { type HttpMethodName, type HttpRoute, headers, httpRoutes, pathFields } from "@blixard/client";
import { BlixardError } from "@blixard/common";
import { methods, type RequestOf, type VmDesired } from "@blixard/protocol";
import { callMetaOf } from "./call-meta.ts";
import { type HttpContext, httpLimits } from "./http-types.ts";
import { readBytes, readJsonObject } from "./request-body.ts";
import { addRoute, metaSource, type RouteContext } from "./route-context.ts";

/** Adds every route of the table; those of `/v1/debug` only when the node was asked to serve them. */
export function addCallRoutes(context: RouteContext): void {
  for (const [name, route] of Object.entries(httpRoutes) as [HttpMethodName, HttpRoute][]) {
    if (name.startsWith("debug.") && !context.options.debugApi) continue;
    addRoute(context, route.verb, route.path, async (request) => {
      await context.authorize(request, methods[name].access);
      const fields = await requestFields(request, route);
      const result = await runCall(context, request, name, fields);
      return answerCall(request, route, result);
    });
  }
}

/** `POST /v1/vms/{name}/start` and its like, and `GET /v1/vms/{name}/explain`. */
export function addVmActionRoutes(context: RouteContext): void {
  const desires: Readonly<Record<string, { readonly desired: VmDesired; readonly restart: boolean }>> = {
    start: { desired: "running", restart: false },
    stop: { desired: "stopped", restart: false },
    restart: { desired: "running", restart: true },
    pause: { desired: "paused", restart: false },
    resume: { desired: "running", restart: false },
  };
  for (const [action, desire] of Object.entries(desires)) {
    addRoute(context, "POST", `/v1/vms/{name}/${action}`, async (request) => {
      const fields = { name: request.req.param("name") ?? "", ...desire };
      return answerCall(request, httpRoutes["vm.desire"], await runCall(context, request, "vm.desire", fields));
    });
  }
  addRoute(context, "DELETE", "/v1/vms/{name}", async (request) => {
    const fields = { name: request.req.param("name") ?? "", desired: "deleted" };
    return answerCall(request, httpRoutes["vm.desire"], await runCall(context, request, "vm.desire", fields));
  });
  addRoute(context, "GET", "/v1/vms/{name}/explain", async (request) => {
    const vm = await runCall(context, request, "vm.get", { name: request.req.param("name") ?? "" });
    const { name, node, phase, desired, reason, message, placement, conditions, spec, fencingEpoch } = vm;
    const onPartition = spec.onPartition;
    return request.json({
      name,
      node,
      phase,
      desired,
      reason,
      message,
      placement,
      conditions,
      onPartition,
      fencingEpoch,
    });
  });
}

async function runCall<Name extends HttpMethodName>(
  context: RouteContext,
  request: HttpContext,
  name: Name,
  fields: Readonly<Record<string, unknown>>,
) {
  const caller = await context.authorize(request, methods[name].access);
  const meta = callMetaOf(metaSource(request), request.get("requestId"), caller);
  return await context.service().call<Name>(name, fields as RequestOf<Name>, meta);
}

/** Fields from the path, then the query or the body; the path wins. */
async function requestFields(request: HttpContext, route: HttpRoute): Promise<Record<string, unknown>> {
  const fromPath: Record<string, unknown> = {};
  for (const field of pathFields(route)) fromPath[field] = typed(route, field, request.req.param(field) ?? "");
  if (route.verb === "GET" || route.verb === "DELETE") {
    const fromQuery: Record<string, unknown> = {};
    for (const [field, text] of Object.entries(request.req.query())) {
      if (field !== "consistency") fromQuery[field] = typed(route, field, text);
    }
    return { ...fromQuery, ...fromPath };
  }
  if (route.bytes === "request") {
    const data = await readBytes(request.env.incoming, httpLimits.consolePendingBytesMax);
    return { data: new Uint8Array(data), ...fromPath };
  }
  return { ...(await readJsonObject(request.env.incoming)), ...fromPath };
}

/** Text of a path or query as the type that the request has; text that does not fit is left for the schema to refuse. */
function typed(route: HttpRoute, field: string, text: string): unknown {
  if (route.integers?.includes(field) && /^-?\d{1,16}$/.test(text)) return Number(text);
  if (route.booleans?.includes(field) && (text === "true" || text === "false")) return text === "true";
  return text;
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
