/** Requests against their schemas. */
import { issuesText, notApplied } from "@blixard/common";
import type { Method } from "@blixard/protocol";

/** The request with its defaults. @throws INVALID_ARGUMENT with the path of each field that does not fit, the first few */
export function validate(schema: Method["request"], request: unknown): unknown {
  const parsed = schema.safeParse(request);
  if (parsed.success) return parsed.data;
  throw notApplied("INVALID_ARGUMENT", issuesText(parsed.error.issues));
}
