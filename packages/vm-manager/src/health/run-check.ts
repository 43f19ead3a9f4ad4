/** Carries out the health checks of one running guest. */
import { BlixardError, type Clock } from "@blixard/common";
import type { VmHealthCheck } from "@blixard/protocol";
import type { GuestAgent } from "../agent/guest-agent.ts";
import type { ConsoleLog } from "../console-log.ts";
import type { VmNetworks } from "../network/vm-networks.ts";
import { AgentCheck } from "./agent-check.ts";
import type { CheckResult } from "./check-course.ts";
import { ConsoleCheck } from "./console-check.ts";

export function checkRunner(of: {
  readonly clock: Clock;
  readonly vmId: string;
  readonly networks: Pick<VmNetworks, "probe">;
  readonly console: ConsoleLog;
  /** Where the output of this start begins. */
  readonly consoleStartOffset: number;
  /** Undefined for a VM without a channel for one. */
  readonly agent: Pick<GuestAgent, "ping" | "begin" | "ended" | "isLent"> | undefined;
}): (check: VmHealthCheck) => Promise<CheckResult> {
  const consoleChecks = new Map<VmHealthCheck, ConsoleCheck>();
  const agentChecks = new Map<VmHealthCheck, AgentCheck>();
  return async (check) => {
    if (check.type === "console") {
      const looks = consoleChecks.get(check) ?? new ConsoleCheck(of.console, of.consoleStartOffset);
      consoleChecks.set(check, looks);
      return await looks.look(check.text);
    }
    if (check.type === "agent" || check.type === "exec") {
      if (of.agent === undefined) throw new BlixardError("UNSUPPORTED", "it has no channel for an agent");
      const asks = agentChecks.get(check) ?? new AgentCheck(of.clock, of.agent);
      agentChecks.set(check, asks);
      return await asks.ask(check);
    }
    const { problem } = await of.networks.probe(of.vmId, check, check.timeoutMs);
    return problem === undefined ? { type: "ok" } : { type: "failed", problem };
  };
}
