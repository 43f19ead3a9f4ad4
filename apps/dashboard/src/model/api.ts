/** Calls of the node that serves this page, by the routes of the contract. */

import { ownRoutes, routes } from "virtual:contract";
import type { HttpMethodName, PageSession, RequestOf, ResponseOf } from "@blixard/protocol";
import { ApiError, unreachable } from "./api-error.ts";

const timeoutMs = 10_000;

interface Sent {
  readonly verb: string;
  readonly path: string;
  readonly token: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

/** @throws ApiError */
async function send({ verb, path, token, body, headers = {} }: Sent): Promise<Response> {
  const ending = new AbortController();
  // The node gives up first, and says why.
  const timer = setTimeout(() => ending.abort(), 2 * timeoutMs);
  try {
    const answer = await fetch(path, {
      method: verb,
      headers: {
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        "blixard-timeout-ms": String(timeoutMs),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: ending.signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    if (answer.ok) return answer;
    throw ApiError.of(answer.status, await answer.json().catch(() => undefined));
  } catch (error) {
    throw error instanceof ApiError ? error : unreachable(verb !== "GET");
  } finally {
    clearTimeout(timer);
  }
}

/** A read. It is answered without the leader, where the contract allows that. */
export async function read<Name extends HttpMethodName>(
  token: string,
  name: Name,
  request: RequestOf<Name>,
): Promise<ResponseOf<Name>> {
  const { verb, path, rest } = placed(name, request);
  // Some reads are asked by POST, because what they ask about is large.
  if (verb !== "GET") return (await (await send({ verb, path, token, body: rest })).json()) as ResponseOf<Name>;
  const stale = staleReads.has(name) ? { consistency: "stale" } : {};
  const query = new URLSearchParams(Object.entries({ ...rest, ...stale }).map(([key, value]) => [key, String(value)]));
  return (await (await send({ verb, path: `${path}?${query}`, token })).json()) as ResponseOf<Name>;
}

const staleReads: ReadonlySet<string> = new Set<HttpMethodName>(["vm.list", "vm.get", "image.list", "operation.list"]);

/** A write, under an id of its own: it applies once. */
export async function write<Name extends HttpMethodName>(
  token: string,
  name: Name,
  request: RequestOf<Name>,
): Promise<void> {
  const { verb, path, rest } = placed(name, request);
  await send({ verb, path, token, body: rest, headers: { "idempotency-key": randomId() } });
}

/** The verb, the path with its fields, and the fields that are left. */
function placed<Name extends HttpMethodName>(name: Name, request: RequestOf<Name>) {
  const route = routes[name];
  if (route === undefined) throw new Error(`${name} has no route`);
  const rest: Record<string, unknown> = { ...request };
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, field: string) => {
    const value = String(rest[field]);
    delete rest[field];
    return encodeURIComponent(value);
  });
  return { verb: route.verb, path, rest };
}

function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Who holds the token, and what that may do. */
export async function whoIs(token: string): Promise<PageSession> {
  return (await (await send({ ...ownRoutes.session, token })).json()) as PageSession;
}

/** A session for the secret of a login. */
export async function beginSession(secret: string): Promise<PageSession> {
  return (await (await send({ ...ownRoutes.beginSession, token: "", body: { secret } })).json()) as PageSession;
}

export async function endSession(token: string): Promise<void> {
  await send({ ...ownRoutes.endSession, token });
}

export async function metricsText(token: string): Promise<string> {
  return await (await send({ ...ownRoutes.metrics, token })).text();
}

/** A piece of serial output from `offset` on, as soon as there is one. */
export async function readConsole(
  token: string,
  name: string,
  offset: number,
): Promise<{ readonly data: Uint8Array; readonly endOffset: number }> {
  const { verb, path } = placed("vm.consoleRead", { name, offset, waitMs: 0 });
  const query = `?offset=${offset}&waitMs=${timeoutMs / 2}`;
  const answer = await send({ verb, path: path + query, token, headers: { accept: "application/octet-stream" } });
  const data = new Uint8Array(await answer.arrayBuffer());
  return { data, endOffset: Number(answer.headers.get("blixard-offset") ?? 0) + data.length };
}

/** Where the console of a VM is a websocket. */
export function consoleUrl(name: string): string {
  const path = ownRoutes.console.path.replace("{name}", encodeURIComponent(name));
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}?offset=-16384`;
}
