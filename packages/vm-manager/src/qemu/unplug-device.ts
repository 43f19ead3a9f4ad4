/** Taking a device out of a QEMU that runs: its guest is asked, and may take its time or not listen. */
import { abortReason, BlixardError, type Clock, pauseFor } from "@blixard/common";
import type { ExecuteQmp } from "../process/qmp-instance.ts";

/** A guest that listens needs less than a second, and much more where it is emulated on a busy machine. */
const unplugTimeoutMs = 15_000;
const pollMs = 100;

/** Resolves when `isThere` says no more that the device is there. @throws DEADLINE_EXCEEDED */
export async function unplugDevice(
  { clock, execute }: { readonly clock: Clock; readonly execute: ExecuteQmp },
  id: string,
  isThere: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  // It is refused while an earlier request waits for the guest.
  await execute("device_del", { id }).catch(() => {});
  const untilMs = clock.monotonicMs() + unplugTimeoutMs;
  while (await isThere()) {
    if (signal.aborted) throw abortReason(signal);
    if (clock.monotonicMs() >= untilMs) throw new BlixardError("DEADLINE_EXCEEDED", "the guest does not let go of it");
    await pauseFor(clock, pollMs, signal);
  }
}
