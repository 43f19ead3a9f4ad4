import type { VmHealthCheck } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { advanceCourse, type CheckCourse, type CheckResult, healthOf, newCourse } from "./check-course.ts";

const check: VmHealthCheck = {
  ...{ type: "http", port: 80, path: "/", intervalMs: 5_000, timeoutMs: 2_000, failuresMax: 3, graceMs: 10_000 },
  recovery: "restart",
};
const ok: CheckResult = { type: "ok" };
const failed: CheckResult = { type: "failed", problem: "the answer is 503" };
const unknown: CheckResult = { type: "unknown", reason: "it has no network card" };
const early = 1_000;
const late = 10_000;

const after = (results: readonly (readonly [CheckResult, number])[]): CheckCourse =>
  results.reduce((course, [result, ageMs]) => advanceCourse(course, result, check, ageMs), newCourse);

describe("the course of a health check", () => {
  it("counts no failure within the grace before the first success", () => {
    expect(
      after([
        [failed, early],
        [failed, early],
        [failed, early],
        [failed, early],
      ]),
    ).toMatchObject({
      state: "starting",
      failures: 0,
    });
  });

  it("is unhealthy after so many failures in a row, within the grace too once it was healthy", () => {
    expect(
      after([
        [failed, late],
        [failed, late],
      ]).state,
    ).toBe("starting");
    expect(
      after([
        [failed, late],
        [failed, late],
        [failed, late],
      ]).state,
    ).toBe("unhealthy");
    expect(
      after([
        [ok, early],
        [failed, early],
        [failed, early],
        [failed, early],
      ]).state,
    ).toBe("unhealthy");
  });

  it("begins to count anew with a success", () => {
    const course = after([
      [ok, late],
      [failed, late],
      [failed, late],
      [ok, late],
      [failed, late],
      [failed, late],
    ]);
    expect(course).toMatchObject({ state: "healthy", failures: 2 });
    expect(
      after([
        [failed, late],
        [failed, late],
        [failed, late],
        [ok, late],
      ]).state,
    ).toBe("healthy");
  });

  it("takes a guest that could not be asked for neither", () => {
    expect(
      after([
        [unknown, late],
        [unknown, late],
        [unknown, late],
        [unknown, late],
      ]),
    ).toMatchObject({
      ...{ state: "starting", failures: 0, unknown: "it has no network card" },
    });
    expect(
      after([
        [ok, late],
        [failed, late],
        [failed, late],
        [unknown, late],
        [failed, late],
      ]).state,
    ).toBe("unhealthy");
  });
});

describe("the health of a guest", () => {
  const course = (change: Partial<CheckCourse>): CheckCourse => ({ ...newCourse, ...change });
  const bad = course({ state: "unhealthy", failures: 3, problem: "the answer is 503" });
  const quiet: VmHealthCheck = { ...check, port: 81, recovery: "none" };

  it("is nothing without checks, and good when all are", () => {
    expect(healthOf([])).toBeUndefined();
    expect(healthOf([[check, course({ state: "healthy" })]])).toEqual({ status: "healthy", message: "", ends: false });
  });

  it("ends the VM for a check that says so, and only then", () => {
    expect(healthOf([[quiet, bad]])).toMatchObject({ status: "unhealthy", ends: false });
    expect(
      healthOf([
        [quiet, bad],
        [check, bad],
      ]),
    ).toEqual({
      status: "unhealthy",
      message: "http 80/ failed 3 times in a row: the answer is 503",
      ends: true,
    });
  });

  it("says what is not known yet", () => {
    expect(healthOf([[check, newCourse]])).toMatchObject({ status: "starting", message: "http 80/ was not asked yet" });
    const blind = course({ unknown: "it has no network card" });
    expect(healthOf([[check, blind]])).toMatchObject({
      ...{ status: "unknown", ends: false },
      message: "http 80/ cannot be asked: it has no network card",
    });
  });
});
