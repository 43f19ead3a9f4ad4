/** Who may call what, and with which requests. */
import { BlixardError } from "@blixard/common";
import type { MethodAccess, MethodName, StreamName } from "@blixard/protocol";

/** @throws UNAUTHENTICATED for a caller that nobody knows, PERMISSION_DENIED for a known one without the right */
export function assertAccess(name: MethodName | StreamName, needed: MethodAccess, given: MethodAccess): void {
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

/** Every issue with the path of its field, the first few of them. */
export function invalidRequest(
  issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[],
): BlixardError {
  const issuesMax = 5;
  const lines = issues.slice(0, issuesMax).map((issue) => {
    const path = issue.path.join(".");
    return path === "" ? issue.message : `${path}: ${issue.message}`;
  });
  return new BlixardError("INVALID_ARGUMENT", lines.join("; "), { outcome: "not_applied" });
}
