/** What a node tells of a running VM beside its phase; pure as the plan, and from the same input. */
import { type ObservedCondition, limits as protocolLimits } from "@blixard/protocol";
import type { NetworkProblem } from "./network/ports-of.ts";
import { isSilent, type PlanInput } from "./reconcile-plan.ts";

export function conditionsOf(input: PlanInput, network?: NetworkProblem): ObservedCondition[] {
  const { instance, limits } = input;
  if (instance === undefined) return [];
  return [
    ...(isSilent(instance, input) ? [silent(limits.silentAfterMs)] : []),
    ...(instance.panic === undefined ? [] : [panicked(instance.panic)]),
    ...(network === undefined ? [] : [withoutNetwork(network)]),
  ];
}

function withoutNetwork({ reason, message }: NetworkProblem): ObservedCondition {
  const short = message.slice(0, protocolLimits.vmConditionMessageLengthMax);
  return { type: "Network", status: false, reason, message: short };
}

/** `line` is the word of the guest. */
function panicked(line: string): ObservedCondition {
  const message = `on its console: ${line}`.slice(0, protocolLimits.vmConditionMessageLengthMax);
  return { type: "GuestPanic", status: true, reason: "PanicOnConsole", message };
}

function silent(silentAfterMs: number): ObservedCondition {
  const message = `the guest wrote nothing on its serial console in ${silentAfterMs / 1_000} s; it may have none`;
  return { type: "ConsoleOutput", status: false, reason: "ConsoleSilent", message };
}
