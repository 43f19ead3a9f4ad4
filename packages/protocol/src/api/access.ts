/** Who calls, and the one rule of who may call what. */
import { notApplied } from "@blixard/common";
import { z } from "zod";
import { limits } from "../limits.ts";

/** Who asked: the holder of a token or of a person's key, a node, or the node itself. */
export const actorSchema = z.object({ kind: z.enum(["token", "node", "system"]), id: z.string().max(128) });
export type Actor = Readonly<z.infer<typeof actorSchema>>;

/** The right that a caller has: none, to see how the node that it asks is (by its `local.token`), that of a person's role, each of which includes those before it, or that of a member node. */
export const callerAccessSchema = z.enum(["anyone", "local", "viewer", "operator", "admin", "node"]);
export type CallerAccess = z.infer<typeof callerAccessSchema>;

/**
 * What a person or a program may do, wherever a role is named. `viewer`: read. `operator`: VMs, images and keys, cordon and
 * drain, and tickets for viewers. `admin`: everything, also members, tokens and certificates.
 */
export const accessRoleSchema = z.enum(["viewer", "operator", "admin"]).meta({ sinceValue: { operator: 3 } });
export type AccessRole = z.infer<typeof accessRoleSchema>;

/** Whether a role is one of people and programs, and none of a node. */
export function isAccessRole(role: string): role is AccessRole {
  return (accessRoleSchema.options as readonly string[]).includes(role);
}

/**
 * The least right that a method needs. `ticket`: whoever shows a ticket by the key of its connection; the key is the
 * actor then, whatever else it is known for, and attempts are slowed down.
 */
export type MethodAccess = CallerAccess | "ticket";

/** What goes with a call, on every transport. */
export const callMetaSchema = z.object({
  /** Set by the first caller; kept on forwarding and retry. */
  requestId: z.string().max(limits.requestIdLengthMax),
  /** An index of the log from before the first attempt of this request; see `commandEnvelope`. */
  sinceIndex: z.int().min(0).exactOptional(),
  actor: actorSchema,
  access: callerAccessSchema,
  /** Milliseconds that the caller still waits. */
  timeoutMs: z
    .number()
    .min(0)
    .max(24 * 3600 * 1000),
  /** Reads only: answer from the local state without asking the leader. */
  stale: z.boolean(),
  ifMatchIndex: z.int().min(0).exactOptional(),
  /** Times this call was forwarded; refused beyond `forwardHopsMax`. */
  hops: z.int().min(0).max(16),
});
export type CallMeta = Readonly<z.infer<typeof callMetaSchema>>;

export const forwardHopsMax = 2;

/** @throws UNAUTHENTICATED for a caller that nobody knows, PERMISSION_DENIED for a known one without the right */
export function authorize(name: string, needed: MethodAccess, given: CallerAccess): void {
  if (allows(needed, given)) return;
  if (given === "anyone") {
    throw notApplied("UNAUTHENTICATED", `${name} needs a token`, {
      hint: "Send the token of this cluster, for example from admin.token in the data directory of its first node.",
    });
  }
  throw notApplied("PERMISSION_DENIED", `${name} needs the access "${needed}", not "${given}"`, {
    hint:
      needed === "node"
        ? "Only the nodes of the cluster call this."
        : `Ask an administrator for another key or token: blixard ticket create --role ${needed}, or token create.`,
  });
}

/** Whether a person who calls what needs this right may change something by it. */
export function isAccessToChange(needed: MethodAccess): boolean {
  return needed === "operator" || needed === "admin";
}

function allows(needed: MethodAccess, given: CallerAccess): boolean {
  switch (needed) {
    case "anyone":
    case "ticket":
      return true;
    case "local":
      return given !== "anyone";
    case "viewer":
      return given !== "anyone" && given !== "local";
    case "operator":
      return given === "operator" || given === "admin";
    case "admin":
      return given === "admin";
    case "node":
      return given === "node";
    default:
      return needed satisfies never;
  }
}

/** Whether a call may change anything. Some that only read are not for viewers, because of what they show. */
export function mayChange({ access, http = [] }: Readable): boolean {
  const onlyReads = http.length > 0 && http.every(({ verb }) => verb === "GET");
  return isAccessToChange(access) && !onlyReads;
}

interface Readable {
  readonly access: MethodAccess;
  readonly http?: readonly { readonly verb: string }[];
}
