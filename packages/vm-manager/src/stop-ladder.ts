/**
 * Ends an instance, step by step, each with a deadline: ask the guest, ask the process, SIGTERM, SIGKILL. Every way to
 * end looks alike from outside, so the ladder waits for the process to be gone, not for a socket to close.
 */
import { BlixardError, type Clock, withDeadline } from "@blixard/common";
import type { InstanceState, VmInstance } from "./driver.ts";

export async function stopInstance(
  clock: Clock,
  instance: VmInstance,
  options: {
    /** 0: the guest is not asked. */
    readonly powerdownDeadlineMs: number;
    readonly quitDeadlineMs: number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { powerdownDeadlineMs, quitDeadlineMs, signal } = options;
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
  if (powerdownDeadlineMs > 0 && instance.state.value.type === "running") {
    await instance.requestPowerdown().catch(() => {});
    await reached(powerdownDeadlineMs, (state) => ended(state) || state.type === "halted");
  }
  await instance.quit();
  if (await reached(quitDeadlineMs, ended)) return;
  instance.kill("SIGTERM");
  if (await reached(quitDeadlineMs, ended)) return;
  instance.kill("SIGKILL");
  if (await reached(quitDeadlineMs, ended)) return;
  throw new BlixardError("VM_DRIVER_FAILED", `process ${instance.handle.pid} does not end, not even by SIGKILL`);
}
