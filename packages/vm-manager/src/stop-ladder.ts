/**
 * Ends an instance, step by step, each with a deadline: ask the guest (its agent, then by ACPI), ask the process, SIGTERM, SIGKILL. Every way to
 * end looks alike from outside, so the ladder waits for the process to be gone, not for a socket to close.
 */
import { BlixardError, type Clock, withDeadline } from "@blixard/common";
import type { GuestAgent } from "./agent/guest-agent.ts";
import type { InstanceState, VmInstance } from "./driver.ts";

/** The step that ended the instance; `itself` when it was over before. */
export type StoppedBy = "itself" | "agent" | "acpi" | "quit" | "sigterm" | "sigkill";

export async function stopInstance(
  clock: Clock,
  instance: VmInstance,
  options: {
    /** 0: the guest is not asked. */
    readonly powerdownDeadlineMs: number;
    readonly quitDeadlineMs: number;
    /** Asked first, where one answers. */
    readonly agent?: Pick<GuestAgent, "shutdown" | "isLent"> | undefined;
    readonly signal: AbortSignal;
  },
): Promise<StoppedBy> {
  const { powerdownDeadlineMs, quitDeadlineMs, agent, signal } = options;
  const reached = async (timeoutMs: number, holds: (state: InstanceState) => boolean): Promise<boolean> => {
    try {
      await withDeadline({ clock, timeoutMs, what: "stopping", signal }, (inner) =>
        instance.state.until(holds, { signal: inner }),
      );
      return true;
    } catch {
      signal.throwIfAborted();
      return false;
    }
  };
  const ended = (state: InstanceState) => state.type === "ended";
  const over = (state: InstanceState) => ended(state) || state.type === "halted";
  // What is over stays as a tombstone, which the next steps clear away.
  let by: StoppedBy | undefined = over(instance.state.value) ? "itself" : undefined;
  if (powerdownDeadlineMs > 0 && instance.state.value.type === "running") {
    // An agent whose channel is lent would be asked much later.
    const asked = agent?.isLent === false && (await agent.shutdown().then(isDone, isNotDone));
    // An agent that says yes and does nothing takes half of the time.
    const deadlineMs = asked ? powerdownDeadlineMs / 2 : powerdownDeadlineMs;
    if (!asked || !(await reached(deadlineMs, over))) await instance.requestPowerdown().catch(() => {});
    if (await reached(deadlineMs, over)) by = asked ? "agent" : "acpi";
  }
  await instance.quit();
  if (await reached(quitDeadlineMs, ended)) return by ?? "quit";
  instance.kill("SIGTERM");
  if (await reached(quitDeadlineMs, ended)) return by ?? "sigterm";
  instance.kill("SIGKILL");
  if (await reached(quitDeadlineMs, ended)) return by ?? "sigkill";
  throw new BlixardError("VM_DRIVER_FAILED", `process ${instance.handle.pid} does not end, not even by SIGKILL`);
}

const isDone = () => true;
const isNotDone = () => false;
