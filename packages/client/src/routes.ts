/**
 * How the methods of the node service travel over HTTP: one table, read by this client and by the server of
 * `apps/node`, so that the two cannot drift apart.
 */
import type { MethodName } from "@blixard/protocol";

export type HttpVerb = "GET" | "PUT" | "POST" | "PATCH" | "DELETE";

export interface HttpRoute {
  readonly verb: HttpVerb;
  /** Parts in braces are fields of the request; the server gets them percent-decoded. */
  readonly path: string;
  /** Fields that are integers, when they travel in the path or the query. */
  readonly integers?: readonly string[];
  /** Fields that are `true` or `false`, when they travel in the path or the query. */
  readonly booleans?: readonly string[];
  /** Status of a success; default 200. */
  readonly successStatus?: 201;
  /** Field of the response whose content is merged into the top level of the body. */
  readonly merged?: string;
  /** Field of the response that is the whole body. */
  readonly whole?: string;
  /** Raw bytes travel as they are: in the body of the request, or of the response when it asks for them. */
  readonly bytes?: "request" | "response";
}

/** Fields that the path does not name travel in the query of a GET or DELETE, and in the JSON body of the rest. */
export const httpRoutes = {
  "identity.get": { verb: "GET", path: "/v1/identity" },
  "status.get": { verb: "GET", path: "/v1/status" },
  "kv.list": { verb: "GET", path: "/v1/kv", integers: ["limit"] },
  "kv.get": { verb: "GET", path: "/v1/kv/{key}" },
  "kv.put": { verb: "PUT", path: "/v1/kv/{key}" },
  "kv.delete": { verb: "DELETE", path: "/v1/kv/{key}" },
  "kv.cas": { verb: "POST", path: "/v1/kv/{key}/cas" },
  "vm.list": { verb: "GET", path: "/v1/vms" },
  "vm.create": { verb: "POST", path: "/v1/vms", successStatus: 201, merged: "vm" },
  "vm.get": { verb: "GET", path: "/v1/vms/{name}" },
  "vm.desire": { verb: "PATCH", path: "/v1/vms/{name}", merged: "vm" },
  "vm.consoleRead": {
    verb: "GET",
    path: "/v1/vms/{name}/logs",
    integers: ["offset", "bytesMax", "waitMs"],
    bytes: "response",
  },
  "vm.consoleWrite": { verb: "POST", path: "/v1/vms/{name}/console", bytes: "request" },
  "image.list": { verb: "GET", path: "/v1/images" },
  "image.put": { verb: "POST", path: "/v1/images", successStatus: 201, merged: "image" },
  "image.get": { verb: "GET", path: "/v1/images/{name}" },
  "image.remove": { verb: "DELETE", path: "/v1/images/{name}" },
  "node.list": { verb: "GET", path: "/v1/nodes" },
  "node.get": { verb: "GET", path: "/v1/nodes/{id}", integers: ["id"] },
  "node.cordon": { verb: "PATCH", path: "/v1/nodes/{id}", integers: ["id"] },
  "member.list": { verb: "GET", path: "/v1/members" },
  "member.remove": { verb: "DELETE", path: "/v1/members/{id}", integers: ["id"], booleans: ["force"] },
  "member.setRole": { verb: "PATCH", path: "/v1/members/{id}", integers: ["id"] },
  "ticket.list": { verb: "GET", path: "/v1/tickets" },
  "ticket.create": { verb: "POST", path: "/v1/tickets", successStatus: 201 },
  "ticket.revoke": { verb: "DELETE", path: "/v1/tickets/{id}" },
  "cert.list": { verb: "GET", path: "/v1/certificates" },
  "cert.rotate": { verb: "POST", path: "/v1/certificates/rotate" },
  "join.list": { verb: "GET", path: "/v1/joins" },
  "join.accept": { verb: "POST", path: "/v1/joins/{endpointId}" },
  "token.list": { verb: "GET", path: "/v1/tokens" },
  "token.create": { verb: "POST", path: "/v1/tokens", successStatus: 201 },
  "token.revoke": { verb: "DELETE", path: "/v1/tokens/{id}" },
  "leader.transfer": { verb: "POST", path: "/v1/leader/transfer" },
  "snapshot.take": { verb: "POST", path: "/v1/snapshot" },
  "debug.log": { verb: "GET", path: "/v1/debug/log", integers: ["from", "to"], whole: "items" },
  "debug.stateHash": { verb: "GET", path: "/v1/debug/statehash", integers: ["index"] },
} as const satisfies Partial<Record<MethodName, HttpRoute>>;

/** The methods that can be called over HTTP; the rest belong to nodes. */
export type HttpMethodName = keyof typeof httpRoutes;

/** Names of headers that client and server agree on. */
export const headers = {
  idempotencyKey: "idempotency-key",
  ifMatch: "if-match",
  /** Milliseconds that the caller still waits. */
  timeoutMs: "blixard-timeout-ms",
  requestId: "x-request-id",
  /** Of a piece of serial output: the offset of its first byte, and the end of the whole output. */
  consoleOffset: "blixard-offset",
  consoleEndOffset: "blixard-end-offset",
} as const;

/** The fields that the path of `route` names, in order. */
export function pathFields(route: HttpRoute): readonly string[] {
  return [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
}
