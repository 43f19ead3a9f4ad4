/** What holds of a VM beside its phase. The leader marks VMs whose node it does not reach; the rest is seen by the node. */
import { z } from "zod";
import { limits } from "../limits.ts";

export const vmConditionSchema = z.object({
  type: z.string().max(64),
  status: z.boolean(),
  reason: z.string().max(128),
  message: z.string().max(1_024),
});
export type VmCondition = z.infer<typeof vmConditionSchema>;

/** The type of the condition that marks VMs of a node which the leader cannot reach. */
export const nodeReachable = "NodeReachable";

/** Whether the leader has not heard of the node of the VM for a while. */
export function isOnLostNode({ conditions }: { readonly conditions: readonly VmCondition[] }): boolean {
  return conditions.some(({ type, status }) => type === nodeReachable && !status);
}

/** Conditions that the node of a VM observes. Each is there only while something is to be told. */
export const observedConditionTypes = [
  "ConsoleOutput",
  "GuestPanic",
  "Network",
  "Disks",
  "Health",
  "Resources",
] as const;

const observedConditionSchema = vmConditionSchema.extend({
  type: z.enum(observedConditionTypes),
  reason: z.string().max(64),
  message: z.string().max(limits.vmConditionMessageLengthMax),
});
export type ObservedCondition = z.infer<typeof observedConditionSchema>;

export const observedConditionsSchema = z
  .array(observedConditionSchema)
  .max(observedConditionTypes.length)
  .meta({ since: 3 });

/** The conditions of a record after its node said which ones it sees: the others stay. */
export function withObservedConditions(
  present: readonly VmCondition[],
  seen: readonly ObservedCondition[],
): VmCondition[] {
  const types: readonly string[] = observedConditionTypes;
  return [...present.filter(({ type }) => !types.includes(type)), ...seen];
}
