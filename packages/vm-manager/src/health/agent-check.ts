/**
 * Asks a guest by its agent how it does. A program that does not end in time runs on in the guest; none is started beside it, so
 * that a check leaves one process at most.
 */
import { type Clock, errorCodeOf, isBlixardError, sleep, withDeadline } from "@blixard/common";
import type { VmHealthCheck } from "@blixard/protocol";
import { printable } from "../agent/agent-client.ts";
import type { GuestAgent, GuestExecResult } from "../agent/guest-agent.ts";
import type { CheckResult } from "./check-course.ts";

type AgentHealthCheck = Extract<VmHealthCheck, { readonly type: "agent" | "exec" }>;

const pollMs = 100;
const shownLengthMax = 80;

export class AgentCheck {
  readonly #clock: Clock;
  readonly #agent: Pick<GuestAgent, "ping" | "begin" | "ended" | "isLent">;
  /** The program that was started and has not ended, as far as is known. */
  #pid: number | undefined;

  constructor(clock: Clock, agent: Pick<GuestAgent, "ping" | "begin" | "ended" | "isLent">) {
    this.#clock = clock;
    this.#agent = agent;
  }

  /** An agent that does not answer is a failure: whether it does is what was asked. One whose channel is lent was not asked. */
  async ask(check: AgentHealthCheck): Promise<CheckResult> {
    if (this.#agent.isLent) return lent;
    const { timeoutMs } = check;
    const limit = { clock: this.#clock, timeoutMs, what: "the check" };
    try {
      return await withDeadline(limit, (signal) =>
        check.type === "agent" ? this.#ping({ timeoutMs, signal }) : this.#run(check.argv, { timeoutMs, signal }),
      );
    } catch (error) {
      if (!isBlixardError(error)) throw error;
      if (this.#agent.isLent) return lent;
      const isLate = errorCodeOf(error) === "DEADLINE_EXCEEDED";
      const what = this.#pid === undefined ? "the agent in the guest does not answer" : "it has not ended";
      return { type: "failed", problem: isLate ? `${what} within ${timeoutMs} ms` : printable(error.message) };
    }
  }

  async #ping(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<CheckResult> {
    await this.#agent.ping(options);
    return { type: "ok" };
  }

  async #run(
    argv: readonly string[],
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<CheckResult> {
    const isLate = this.#pid !== undefined;
    this.#pid ??= await this.#agent.begin(argv, options);
    for (;;) {
      const ended = await this.#ended(this.#pid, options);
      if (ended !== undefined) {
        this.#pid = undefined;
        return isLate ? { type: "failed", problem: "it has ended too late" } : resultOf(ended);
      }
      await sleep(this.#clock, pollMs, options.signal);
    }
  }

  async #ended(pid: number, options: { readonly timeoutMs: number; readonly signal: AbortSignal }) {
    try {
      return await this.#agent.ended(pid, options);
    } catch (error) {
      // The agent, or the guest, was started anew, and knows nothing of it.
      if (errorCodeOf(error) === "CONFLICT") this.#pid = undefined;
      throw error;
    }
  }
}

const lent: CheckResult = { type: "unknown", reason: "the file systems of the guest stand still for a snapshot" };

function resultOf({ exitCode, signal, output, errors }: GuestExecResult): CheckResult {
  if (exitCode === 0) return { type: "ok" };
  const how = exitCode === null ? `a signal ended it (${signal})` : `it ended with ${exitCode}`;
  const said = (errors.length > 0 ? errors : output).subarray(0, shownLengthMax);
  const text = printable(Buffer.from(said).toString("latin1").split("\n", 1)[0] ?? "").trim();
  return { type: "failed", problem: text === "" ? how : `${how}: ${text}` };
}
