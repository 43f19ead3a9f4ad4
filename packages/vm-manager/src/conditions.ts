/** What a node tells of a running VM beside its phase; pure as the plan, and from the same input. */
import type { ObservedCondition } from "@blixard/protocol";
import { isSilent, type PlanInput } from "./reconcile-plan.ts";

export function conditionsOf(input: PlanInput): ObservedCondition[] {
  const { instance, limits } = input;
  if (instance === undefined) return [];
  return isSilent(instance, input) ? [silent(limits.silentAfterMs)] : [];
}

function silent(silentAfterMs: number): ObservedCondition {
  const message = `the guest wrote nothing on its serial console in ${silentAfterMs / 1_000} s; it may have none`;
  return { type: "ConsoleOutput", status: false, reason: "ConsoleSilent", message };
}
