/** The HTTP routes of a node that are no calls of its service. With the methods and streams they are all that it serves. */
import { z } from "zod";
import { accessRoleSchema, actorSchema, type CallerAccess } from "./access.ts";
import type { HttpVerb } from "./definitions.ts";
import { digestSchema, nodeIdSchema } from "./values.ts";

/** What `/healthz` answers. */
export const healthSchema = z.object({
  healthy: z.literal(true),
  nodeId: nodeIdSchema,
  clusterId: z.string(),
  /** Serving with a known leader, and caught up. */
  ready: z.boolean(),
  /** Why it is not ready; empty when it is. */
  reason: z.string(),
});
export type Health = z.infer<typeof healthSchema>;

/** A blob in the image store of a node. */
export const storedBlobSchema = z.object({ digest: digestSchema, sizeBytes: z.int(), nodeId: nodeIdSchema });
export type StoredBlob = z.infer<typeof storedBlobSchema>;

/** A secret that opens the page once, without a token in its address. */
export const pageLoginSchema = z.object({ secret: z.string(), expiresUnixMs: z.int() });
export type PageLogin = z.infer<typeof pageLoginSchema>;

/** Who calls. `token` and `expiresUnixMs` are of a session that a login has begun; `token` is told once. */
export const pageSessionSchema = z.object({
  actor: actorSchema,
  role: accessRoleSchema,
  expiresUnixMs: z.int().optional(),
  token: z.string().optional(),
});
export type PageSession = z.infer<typeof pageSessionSchema>;

export interface NodeRoute {
  readonly verb: HttpVerb;
  readonly path: string;
  readonly summary: string;
  readonly access: CallerAccess;
  /** Media type and schema of a success; a schema of undefined stands for bytes or text. */
  readonly answers: { readonly status: number; readonly mediaType: string; readonly schema?: z.ZodType };
  /** Media type of the body that it takes. */
  readonly takes?: string;
}

const json = (schema: z.ZodType, status = 200) => ({ status, mediaType: "application/json", schema });

export const nodeRoutes = {
  health: {
    verb: "GET",
    path: "/healthz",
    summary: "whether the node lives; 503 when its storage failed",
    access: "anyone",
    answers: json(healthSchema),
  },
  readiness: {
    verb: "GET",
    path: "/readyz",
    summary: "whether the node serves with a known leader and is caught up; 503 when not",
    access: "anyone",
    answers: json(z.object({ ready: z.literal(true) })),
  },
  metrics: {
    verb: "GET",
    path: "/metrics",
    summary: "metrics as Prometheus text",
    access: "local",
    answers: { status: 200, mediaType: "text/plain" },
  },
  openApi: {
    verb: "GET",
    path: "/v1/openapi.json",
    summary: "this document",
    access: "viewer",
    answers: json(z.object({ openapi: z.string() })),
  },
  page: {
    verb: "GET",
    path: "/",
    summary: "the page, for browsers",
    access: "anyone",
    answers: { status: 200, mediaType: "text/html" },
  },
  pageFile: {
    verb: "GET",
    path: "/assets/{file}",
    summary: "a script or style of the page",
    access: "anyone",
    answers: { status: 200, mediaType: "text/javascript" },
  },
  pageLogin: {
    verb: "POST",
    path: "/v1/logins",
    summary: "a secret that begins one session with the rights of the caller's token, soon and on this machine only",
    access: "viewer",
    answers: json(pageLoginSchema, 201),
  },
  beginSession: {
    verb: "POST",
    path: "/v1/session",
    summary: "the secret of a login, in `secret`, for the token of a session at this node; good once",
    access: "anyone",
    takes: "application/json",
    answers: json(pageSessionSchema, 201),
  },
  session: {
    verb: "GET",
    path: "/v1/session",
    summary: "who calls, and what the caller may do",
    access: "viewer",
    answers: json(pageSessionSchema),
  },
  endSession: {
    verb: "DELETE",
    path: "/v1/session",
    summary: "the session of the caller ends; a token stays what it is",
    access: "viewer",
    answers: json(z.object({ ended: z.boolean() })),
  },
  uploadBlob: {
    verb: "POST",
    path: "/v1/blobs",
    summary: "store the body in the image store of this node",
    access: "operator",
    takes: "application/octet-stream",
    answers: json(storedBlobSchema, 201),
  },
  console: {
    verb: "GET",
    path: "/v1/vms/{name}/console",
    summary: "the serial console of a VM, as a websocket",
    access: "operator",
    answers: { status: 101, mediaType: "application/octet-stream" },
  },
  forward: {
    verb: "GET",
    path: "/v1/vms/{name}/ports/{port}",
    summary:
      "a TCP connection to a port of a VM, in its network `user` or in `?network=NAME`, as a websocket: binary messages are what comes, `end` says that no more does",
    access: "operator",
    answers: { status: 101, mediaType: "application/octet-stream" },
  },
} as const satisfies Readonly<Record<string, NodeRoute>>;

/** Names of headers that client and server agree on. */
export const headers = {
  idempotencyKey: "idempotency-key",
  /** An index from before the key was used first. */
  idempotencySince: "idempotency-since",
  ifMatch: "if-match",
  /** Milliseconds that the caller still waits. */
  timeoutMs: "blixard-timeout-ms",
  requestId: "x-request-id",
  /** Of a piece of serial output: the offset of its first byte, and the end of the whole output. */
  consoleOffset: "blixard-offset",
  consoleEndOffset: "blixard-end-offset",
} as const;

/** The fields that the path of `route` names, in order. */
export function pathFields(route: { readonly path: string }): readonly string[] {
  return [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
}
