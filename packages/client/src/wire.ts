/** Turns calls into HTTP requests and answers into results, by the routes of the contract. */
import { assert, BlixardError, knownErrorCode, notApplied } from "@blixard/common";
import {
  type HttpMethodName,
  type HttpRoute,
  type HttpStreamRoute,
  headers,
  type Method,
  methods,
  type ResponseOf,
  readAnswer,
  streamMediaTypes,
} from "@blixard/protocol";
import type { HttpAnswer } from "./node-endpoint.ts";

export interface WireRequest {
  readonly verb: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

function clientRoute(name: HttpMethodName): HttpRoute {
  const { http }: Method = methods[name];
  assert(http?.[0] !== undefined, `${name} has a route`);
  return http[0];
}

/** The HTTP request of a call; `stale` asks for a read of the local state of whichever node answers. */
export function encodeCall(name: HttpMethodName, request: object, stale: boolean): WireRequest {
  const route = clientRoute(name);
  const { path, fields } = pathOf(route, request);
  const query = new URLSearchParams();
  if (stale) query.set("consistency", "stale");
  if (route.bytes === "request") {
    const data = fields.get("data");
    const body = data instanceof Uint8Array ? data : new Uint8Array();
    return { verb: route.verb, path, headers: { "content-type": "application/octet-stream" }, body };
  }
  if (route.verb === "GET" || route.verb === "DELETE") {
    addFields(query, fields);
    const text = query.toString();
    const accept = route.bytes === "response" ? "application/octet-stream" : "application/json";
    return { verb: route.verb, path: text === "" ? path : `${path}?${text}`, headers: { accept } };
  }
  return {
    verb: route.verb,
    path,
    headers: { "content-type": "application/json", accept: "application/json" },
    body: new TextEncoder().encode(JSON.stringify(Object.fromEntries(fields))),
  };
}

/** The HTTP request that opens a stream. */
export function encodeOpening({ path: template, flag }: HttpStreamRoute, request: object, stale: boolean): WireRequest {
  const { path, fields } = pathOf({ path: template }, request);
  const query = new URLSearchParams({ [flag]: "true" });
  if (stale) query.set("consistency", "stale");
  addFields(query, fields);
  return { verb: "GET", path: `${path}?${query}`, headers: { accept: streamMediaTypes.lines } };
}

/** The path with the fields that it names, and the fields that are left. */
export function pathOf(route: { readonly path: string }, request: object) {
  const fields = new Map<string, unknown>(Object.entries(request));
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, field: string) => {
    const value = fields.get(field);
    fields.delete(field);
    return encodeSegment(String(value ?? ""));
  });
  return { path, fields };
}

function addFields(query: URLSearchParams, fields: ReadonlyMap<string, unknown>): void {
  for (const [field, value] of fields) if (value !== undefined) query.set(field, String(value));
}

/** @throws INVALID_ARGUMENT for a text that URLs take for a step in the path, encoded or not (URL standard, 4.4) */
function encodeSegment(text: string): string {
  if (text !== "." && text !== "..") return encodeURIComponent(text);
  throw notApplied("INVALID_ARGUMENT", `"${text}" cannot be a name: it is a step in a path`);
}

/**
 * The result of a call.
 * @throws the error that the node answered, or ANSWER_UNREADABLE
 */
export function decodeAnswer<Name extends HttpMethodName>(name: Name, answer: HttpAnswer): ResponseOf<Name> {
  if (answer.status >= 400) throw decodeError(answer);
  const route = clientRoute(name);
  return readAnswer(name, () =>
    route.bytes === "response"
      ? {
          offset: Number(answer.headers[headers.consoleOffset]),
          endOffset: Number(answer.headers[headers.consoleEndOffset]),
          data: new Uint8Array(answer.body),
        }
      : unmerge(route, JSON.parse(answer.body.toString("utf8"))),
  );
}

/** The error that an answer of 400 or more stands for. */
export function decodeError(answer: HttpAnswer): BlixardError {
  let body: unknown;
  try {
    body = JSON.parse(answer.body.toString("utf8"));
  } catch {
    body = undefined;
  }
  const requestId = answer.headers[headers.requestId];
  const error = decodeErrorBody(body, typeof requestId === "string" ? requestId : undefined);
  if (error !== undefined) return error;
  return new BlixardError("INTERNAL", `the server answered with HTTP status ${answer.status}`, {
    hint: "Is this the address of a Blixard node?",
  });
}

/** The error in an error body of the API; undefined for anything else. */
export function decodeErrorBody(body: unknown, requestId: string | undefined): BlixardError | undefined {
  const error = (body as { readonly error?: Record<string, unknown> | null } | null | undefined)?.error;
  if (typeof error !== "object" || error === null || typeof error["code"] !== "string") return undefined;
  // A later release has codes that this one does not know: what else it says still holds.
  const code = knownErrorCode(error["code"]) ?? (error["retryable"] === true ? "UNAVAILABLE" : "INTERNAL");
  const hint = error["hint"];
  const details = error["details"];
  return new BlixardError(code, String(error["message"] ?? ""), {
    outcome: error["outcome"] === "unknown" ? "unknown" : "not_applied",
    ...(typeof hint === "string" && hint !== "" ? { hint } : {}),
    details: {
      ...(typeof details === "object" && details !== null ? details : {}),
      ...(requestId === undefined ? {} : { requestId }),
      ...(code === error["code"] ? {} : { code: error["code"] }),
    },
  });
}

/** The response from its body: undoes the merge of a record with `index` and `term`, and names a whole body. */
function unmerge(route: HttpRoute, body: unknown): unknown {
  if (route.whole !== undefined) return { [route.whole]: body };
  if (route.merged === undefined || typeof body !== "object" || body === null) return body;
  return { ...body, [route.merged]: body };
}
