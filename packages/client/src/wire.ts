/** Turns calls into HTTP requests and answers into results, by the routes of the contract. */
import { assert, BlixardError, knownErrorCode } from "@blixard/common";
import {
  type HttpMethodName,
  type HttpRoute,
  headers,
  type Method,
  methods,
  type ResponseOf,
  readAnswer,
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
  const fields = new Map<string, unknown>(Object.entries(request));
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, field: string) => {
    const value = fields.get(field);
    fields.delete(field);
    return encodeSegment(String(value ?? ""));
  });
  const query = new URLSearchParams();
  if (stale) query.set("consistency", "stale");
  if (route.bytes === "request") {
    const data = fields.get("data");
    const body = data instanceof Uint8Array ? data : new Uint8Array();
    return { verb: route.verb, path, headers: { "content-type": "application/octet-stream" }, body };
  }
  if (route.verb === "GET" || route.verb === "DELETE") {
    for (const [field, value] of fields) if (value !== undefined) query.set(field, String(value));
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

/** @throws INVALID_ARGUMENT for a text that URLs take for a step in the path, encoded or not (URL standard, 4.4) */
function encodeSegment(text: string): string {
  if (text !== "." && text !== "..") return encodeURIComponent(text);
  throw new BlixardError("INVALID_ARGUMENT", `"${text}" cannot be a name: it is a step in a path`, {
    outcome: "not_applied",
  });
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
  let body: { error?: Record<string, unknown> } | undefined;
  try {
    body = JSON.parse(answer.body.toString("utf8")) as { error?: Record<string, unknown> };
  } catch {
    body = undefined;
  }
  const error = body?.error;
  const code = knownErrorCode(error?.["code"]);
  if (typeof error !== "object" || error === null || code === undefined) {
    return new BlixardError("INTERNAL", `the server answered with HTTP status ${answer.status}`, {
      hint: "Is this the address of a Blixard node?",
    });
  }
  const hint = error["hint"];
  const details = error["details"];
  const requestId = answer.headers[headers.requestId];
  return new BlixardError(code, String(error["message"] ?? ""), {
    outcome: error["outcome"] === "unknown" ? "unknown" : "not_applied",
    ...(typeof hint === "string" && hint !== "" ? { hint } : {}),
    details: {
      ...(typeof details === "object" && details !== null ? details : {}),
      ...(typeof requestId === "string" ? { requestId } : {}),
    },
  });
}

/** The response from its body: undoes the merge of a record with `index` and `term`, and names a whole body. */
function unmerge(route: HttpRoute, body: unknown): unknown {
  if (route.whole !== undefined) return { [route.whole]: body };
  if (route.merged === undefined || typeof body !== "object" || body === null) return body;
  return { ...body, [route.merged]: body };
}
