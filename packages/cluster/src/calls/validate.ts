/** Requests against their schemas. */
import { notApplied } from "@blixard/common";
import type { Method } from "@blixard/protocol";

const issuesMax = 5;

/** The request with its defaults. @throws INVALID_ARGUMENT with the path of each field that does not fit, the first few */
export function validate(schema: Method["request"], request: unknown): unknown {
  const parsed = schema.safeParse(request);
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.slice(0, issuesMax).map(({ path, message }) => {
    const field = path.join(".");
    return field === "" ? message : `${field}: ${message}`;
  });
  throw notApplied("INVALID_ARGUMENT", lines.join("; "));
}
