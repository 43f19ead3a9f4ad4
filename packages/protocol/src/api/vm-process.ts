/** With what the process of a VM was started: its specification may have changed since. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { formerLossPolicy, type LossPolicy, lossPolicySchema, onPartitionSchema } from "./loss-policy.ts";

/** What its process has until it starts again. Absent in a record: nothing runs, or a release started it that did not say. */
export const startedWithSchema = z
  .object({
    vcpus: z.int().min(1).max(limits.vmVcpusMax),
    memoryMiB: z.int().min(1).max(limits.vmMemoryMiBMax),
    /** `stop`: it ends with the lease of its node, also when nobody is there to end it. */
    onPartition: onPartitionSchema,
  })
  .meta({ since: 3 });
export type StartedWith = Readonly<z.infer<typeof startedWithSchema>>;

/**
 * What was asked of a VM whose process does not end with the lease of its node. It holds from the first process on that was
 * started in a later epoch: until then the VM is not started elsewhere, because it could run twice.
 */
export const nextLossPolicySchema = z
  .object({ policy: lossPolicySchema, fencingEpoch: z.int().min(0) })
  .meta({ since: 3 });

/** A field of the specification that holds only when the VM was started again. */
export interface PendingField {
  readonly field: keyof StartedWith;
  readonly runs: string;
  readonly wanted: string;
}

/** The fields of the specification that the running process does not have. */
export function pendingRestart(vm: {
  readonly spec: { readonly vcpus: number; readonly memoryMiB: number };
  readonly startedWith?: StartedWith;
  readonly lossPolicy?: LossPolicy;
  readonly nextLossPolicy?: { readonly policy: LossPolicy };
}): PendingField[] {
  const { spec, startedWith, lossPolicy = formerLossPolicy, nextLossPolicy } = vm;
  if (startedWith === undefined) return [];
  const { onPartition } = nextLossPolicy?.policy ?? lossPolicy;
  const wanted = { vcpus: spec.vcpus, memoryMiB: spec.memoryMiB, onPartition };
  return (["vcpus", "memoryMiB", "onPartition"] as const).flatMap((field) => {
    const differs = startedWith[field] !== wanted[field] || (field === "onPartition" && nextLossPolicy !== undefined);
    return differs ? [{ field, runs: String(startedWith[field]), wanted: String(wanted[field]) }] : [];
  });
}
