/** Asks a running guest again and again how it does, by the checks of its specification. */
import { isDeepStrictEqual } from "node:util";
import { type Clock, messageOf, sleep } from "@blixard/common";
import type { VmHealthCheck } from "@blixard/protocol";
import { advanceCourse, type CheckCourse, type CheckResult, type Health, healthOf, newCourse } from "./check-course.ts";

export interface HealthWatchDeps {
  readonly clock: Clock;
  /** What it asks, and what it hears. Rejects where the guest could not be asked. */
  readonly run: (check: VmHealthCheck) => Promise<CheckResult>;
  /** False while the guest stands still and cannot answer. */
  readonly isRunning: () => boolean;
  /** When the process was started, in monotonic milliseconds. */
  readonly startedMs: number;
  /** Something else is to be told than before. */
  readonly onChange: () => void;
}

export class HealthWatch {
  readonly #deps: HealthWatchDeps;
  #checks: readonly VmHealthCheck[] = [];
  #courses: CheckCourse[] = [];
  #running = new AbortController();
  #told: Health | undefined;

  constructor(deps: HealthWatchDeps) {
    this.#deps = deps;
  }

  /** Undefined for a VM without checks. */
  get health(): Health | undefined {
    return this.#told;
  }

  /** The checks of the specification. Level-triggered: the same ones go on. */
  want(checks: readonly VmHealthCheck[]): void {
    if (isDeepStrictEqual(checks, this.#checks)) return;
    this.close();
    this.#running = new AbortController();
    this.#checks = checks;
    this.#courses = checks.map(() => newCourse);
    this.#tell();
    const { signal } = this.#running;
    for (const [at, check] of checks.entries()) void this.#follow(at, check, signal).catch(() => {});
  }

  close(): void {
    this.#running.abort();
  }

  async #follow(at: number, check: VmHealthCheck, signal: AbortSignal): Promise<void> {
    const { clock, isRunning, startedMs } = this.#deps;
    for (;;) {
      if (isRunning()) {
        const result = await this.#result(check);
        if (signal.aborted) return;
        // Paused meanwhile, it could not answer.
        if (isRunning() || result.type === "ok") {
          const course = this.#courses[at] ?? newCourse;
          this.#courses[at] = advanceCourse(course, result, check, clock.monotonicMs() - startedMs);
          this.#tell();
        }
      }
      await sleep(clock, check.intervalMs, signal);
    }
  }

  async #result(check: VmHealthCheck): Promise<CheckResult> {
    try {
      return await this.#deps.run(check);
    } catch (error) {
      return { type: "unknown", reason: messageOf(error) };
    }
  }

  #tell(): void {
    const health = healthOf(this.#checks.map((check, at) => [check, this.#courses[at] ?? newCourse] as const));
    if (isDeepStrictEqual(health, this.#told)) return;
    this.#told = health;
    this.#deps.onChange();
  }
}
