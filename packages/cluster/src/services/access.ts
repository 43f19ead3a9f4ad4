/** Who may call what. */
import { BlixardError } from "@blixard/common";
import type { MethodAccess, MethodName } from "@blixard/protocol";

/** @throws UNAUTHENTICATED for a caller that nobody knows, PERMISSION_DENIED for a known one without the right */
export function assertAccess(name: MethodName, needed: MethodAccess, given: MethodAccess): void {
  if (allows(needed, given)) return;
  if (given === "anyone") {
    throw new BlixardError("UNAUTHENTICATED", `${name} needs a token`, {
      outcome: "not_applied",
      hint: "Send the token of this cluster, for example from admin.token in the data directory of its first node.",
    });
  }
  throw new BlixardError("PERMISSION_DENIED", `${name} needs the access "${needed}", not "${given}"`, {
    outcome: "not_applied",
    hint:
      needed === "node"
        ? "Only the nodes of the cluster call this."
        : "This key or token may only read. Get another: blixard ticket create --role operator, on a node.",
  });
}

function allows(needed: MethodAccess, given: MethodAccess): boolean {
  switch (needed) {
    case "anyone":
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
