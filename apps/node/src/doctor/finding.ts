/** What one check found. `fail` is what keeps a node from working; `warn` what will hurt; `unknown` is said honestly. */
export interface Finding {
  readonly check: string;
  readonly result: "ok" | "warn" | "fail" | "unknown";
  readonly detail: string;
  /** What to do about it; null when there is nothing to do. */
  readonly next: string | null;
}

export const ok = (check: string, detail: string): Finding => ({ check, result: "ok", detail, next: null });

export function notOk(
  check: string,
  result: "warn" | "fail" | "unknown",
  detail: string,
  next: string | null = null,
): Finding {
  return { check, result, detail, next };
}
