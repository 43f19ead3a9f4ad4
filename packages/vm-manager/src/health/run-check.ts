/** Carries out the health checks of one running guest. */
import type { VmHealthCheck } from "@blixard/protocol";
import type { ConsoleLog } from "../console-log.ts";
import type { VmNetworks } from "../network/vm-networks.ts";
import type { CheckResult } from "./check-course.ts";
import { ConsoleCheck } from "./console-check.ts";

export function checkRunner(of: {
  readonly vmId: string;
  readonly networks: Pick<VmNetworks, "probe">;
  readonly console: ConsoleLog;
  /** Where the output of this start begins. */
  readonly consoleStartOffset: number;
}): (check: VmHealthCheck) => Promise<CheckResult> {
  const consoleChecks = new Map<VmHealthCheck, ConsoleCheck>();
  return async (check) => {
    if (check.type === "console") {
      const looks = consoleChecks.get(check) ?? new ConsoleCheck(of.console, of.consoleStartOffset);
      consoleChecks.set(check, looks);
      return await looks.look(check.text);
    }
    const { problem } = await of.networks.probe(of.vmId, check, check.timeoutMs);
    return problem === undefined ? { type: "ok" } : { type: "failed", problem };
  };
}
