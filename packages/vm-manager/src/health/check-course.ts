/**
 * The course of one health check of a running guest, as a pure function of its results: it holds no clock and asks nobody.
 *
 *   starting --success--> healthy <--success-- failing --failuresMax in a row--> unhealthy --success--> healthy
 *   starting --a failure after the grace--> failing
 */
import { describeCheck, type VmHealthCheck } from "@blixard/protocol";

export interface CheckCourse {
  readonly state: "starting" | "healthy" | "unhealthy";
  /** Failures in a row that count. */
  readonly failures: number;
  /** What is wrong, as the last check said. */
  readonly problem: string | undefined;
  /** Why it could not be found out: that is nobody's failure. */
  readonly unknown: string | undefined;
}

/** What one check found. */
export type CheckResult =
  | { readonly type: "ok" }
  | { readonly type: "failed"; readonly problem: string }
  | { readonly type: "unknown"; readonly reason: string };

export const newCourse: CheckCourse = { state: "starting", failures: 0, problem: undefined, unknown: undefined };

/** `ageMs`: since the process of the guest was started. */
export function advanceCourse(
  before: CheckCourse,
  result: CheckResult,
  { failuresMax, graceMs }: VmHealthCheck,
  ageMs: number,
): CheckCourse {
  if (result.type === "ok") return { ...newCourse, state: "healthy" };
  if (result.type === "unknown") return { ...before, unknown: result.reason };
  const { problem } = result;
  const counts = before.state !== "starting" || ageMs >= graceMs;
  const failures = Math.min(failuresMax, before.failures + (counts ? 1 : 0));
  const state = failures >= failuresMax ? "unhealthy" : before.state;
  return { state, failures, problem, unknown: undefined };
}

/** How a guest does, by all of its checks. */
export interface Health {
  readonly status: "healthy" | "starting" | "unhealthy" | "unknown";
  /** For people, of the check that says so. */
  readonly message: string;
  /** The VM is to end. */
  readonly ends: boolean;
}

export function healthOf(checks: readonly (readonly [VmHealthCheck, CheckCourse])[]): Health | undefined {
  if (checks.length === 0) return undefined;
  const unhealthy = checks.filter(([, { state }]) => state === "unhealthy");
  const worst = unhealthy.find(([{ recovery }]) => recovery === "restart") ?? unhealthy[0];
  if (worst !== undefined) {
    const [check, { failures, problem }] = worst;
    const message = `${describeCheck(check)} failed ${failures} times in a row: ${problem ?? ""}`;
    return { status: "unhealthy", message, ends: check.recovery === "restart" };
  }
  const unknown = checks.find(([, course]) => course.unknown !== undefined);
  if (unknown !== undefined) {
    const [check, course] = unknown;
    return { status: "unknown", message: `${describeCheck(check)} cannot be asked: ${course.unknown}`, ends: false };
  }
  const starting = checks.find(([, { state }]) => state === "starting");
  if (starting === undefined) return { status: "healthy", message: "", ends: false };
  const [check, { problem }] = starting;
  const why = problem === undefined ? "was not asked yet" : `has not succeeded yet: ${problem}`;
  return { status: "starting", message: `${describeCheck(check)} ${why}`, ends: false };
}
