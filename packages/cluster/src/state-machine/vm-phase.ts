/** What the phase of a VM says about whether anything of it runs. */
import type { VmRecord } from "@blixard/protocol";

/** Whether the VM has ended, and does not begin to run by itself. */
export function hasEnded({ phase }: Pick<VmRecord, "phase">): boolean {
  return phase === "Stopped" || phase === "Failed";
}
