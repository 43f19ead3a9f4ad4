/** Turns calls into HTTP requests and answers into results, by the table of `routes.ts`. */
import { BlixardError, knownErrorCode } from "@blixard/common";
import { methods, type ResponseOf } from "@blixard/protocol";
import type { HttpAnswer } from "./node-endpoint.ts";
import { type HttpMethodName, type HttpRoute, headers, httpRoutes } from "./routes.ts";

export interface WireRequest {
  readonly verb: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** The HTTP request of a call; `stale` asks for a read of the local state of whichever node answers. */
export function encodeCall(name: HttpMethodName, request: object, stale: boolean): WireRequest {
  const route: HttpRoute = httpRoutes[name];
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
 * @throws the error that the node answered, or INTERNAL when the answer cannot be read
 */
export function decodeAnswer<Name extends HttpMethodName>(name: Name, answer: HttpAnswer): ResponseOf<Name> {
  if (answer.status >= 400) throw decodeError(answer);
  const route: HttpRoute = httpRoutes[name];
  const shape = methods[name].response;
  const content =
    route.bytes === "response"
      ? {
          offset: Number(answer.headers[headers.consoleOffset]),
          endOffset: Number(answer.headers[headers.consoleEndOffset]),
          data: new Uint8Array(answer.body),
        }
      : unmerge(route, parseJson(answer));
  const parsed = shape.safeParse(content);
  if (!parsed.success) {
    throw new BlixardError("INTERNAL", `the answer to ${name} cannot be read: ${pathsOf(parsed.error)}`, {
      hint: "Is the node of another release than this program?",
    });
  }
  return parsed.data as ResponseOf<Name>;
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

function parseJson(answer: HttpAnswer): unknown {
  try {
    return JSON.parse(answer.body.toString("utf8"));
  } catch (error) {
    throw new BlixardError("INTERNAL", "the node answered with something other than JSON", {
      cause: error,
      hint: "Is this the address of a Blixard node?",
    });
  }
}

/** The response from its body: undoes the merge of a record with `index` and `term`, and names a whole body. */
function unmerge(route: HttpRoute, body: unknown): unknown {
  if (route.whole !== undefined) return { [route.whole]: body };
  if (route.merged === undefined || typeof body !== "object" || body === null) return body;
  return { ...body, [route.merged]: body };
}

function pathsOf(error: { readonly issues: readonly { path: PropertyKey[]; message: string }[] }): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => `${issue.path.map(String).join(".") || "(whole)"}: ${issue.message}`)
    .join("; ");
}
