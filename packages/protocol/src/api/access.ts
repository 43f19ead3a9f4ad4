/** Who calls, and the one rule of who may call what. */
import { notApplied } from "@blixard/common";
import { z } from "zod";
import { limits } from "../limits.ts";

/** Who asked: the holder of a token or of a person's key, a node, or the node itself. */
export const actorSchema = z.object({ kind: z.enum(["token", "node", "system"]), id: z.string().max(128) });
export type Actor = Readonly<z.infer<typeof actorSchema>>;

/** The right that a caller has: none, to read, to change, or that of a member node. */
export const callerAccessSchema = z.enum(["anyone", "viewer", "admin", "node"]);
export type CallerAccess = z.infer<typeof callerAccessSchema>;

/**
 * The least right that a method needs. `ticket`: whoever shows a ticket by the key of its connection; the key is the
 * actor then, whatever else it is known for, and attempts are slowed down.
 */
export type MethodAccess = CallerAccess | "ticket";

/** What goes with a call, on every transport. */
export const callMetaSchema = z.object({
  /** Set by the first caller; kept on forwarding and retry. */
  requestId: z.string().max(limits.requestIdLengthMax),
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
        : "This key or token may only read. Get another: blixard ticket create --role operator, on a node.",
  });
}

function allows(needed: MethodAccess, given: CallerAccess): boolean {
  switch (needed) {
    case "anyone":
    case "ticket":
      return true;
    case "viewer":
      return given !== "anyone";
    case "admin":
      return given === "admin";
    case "node":
      return given === "node";
    default:
      return needed satisfies never;
  }
}
