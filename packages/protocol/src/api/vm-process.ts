/** What the process of a VM has: its specification may have changed since it was started. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { formerLossPolicy, type LossPolicy, lossPolicySchema, onPartitionSchema } from "./loss-policy.ts";
import { type CardWishes, cardTextsOf } from "./vm-cards.ts";
import { type BootWishes, bootOrderSchema } from "./vm-cdroms.ts";
import { diskNameSchema } from "./vm-disks.ts";
import { isWithin, type SizeWishes, vmHotplugSchema } from "./vm-size.ts";

/** What its process has, of most of it until it starts again. Absent in a record: nothing runs, or a release started it that did not say. */
export const startedWithSchema = z
  .object({
    vcpus: z.int().min(1).max(limits.vmVcpusMax),
    memoryMiB: z.int().min(1).max(limits.vmMemoryMiBMax),
    /** `stop`: it ends with the lease of its node, also when nobody is there to end it. */
    onPartition: onPartitionSchema,
    /** What of it changes while it runs, and how far. Absent: nothing. */
    hotplug: vmHotplugSchema.exactOptional(),
    /** The names of its CD-ROM drives. Absent: none. What lies in them changes while it runs. */
    cdroms: z.array(diskNameSchema).max(limits.vmCdromsMax).exactOptional(),
    /** What was asked for. Absent: nothing. */
    bootOrder: bootOrderSchema.exactOptional(),
    /** Its network cards, as `cardTextsOf` says them, where they stay until it starts again. Absent: they change while it runs. */
    cards: z.array(z.string().max(limits.vmCardTextLengthMax)).max(limits.vmNetworksMax).exactOptional(),
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
  readonly field:
    | "vcpus"
    | "memoryMiB"
    | "vcpusMax"
    | "memoryMiBMax"
    | "onPartition"
    | "cdroms"
    | "bootOrder"
    | "networks";
  readonly runs: string;
  readonly wanted: string;
}

/** The fields of the specification that the running process does not have, and does not get without a start. */
export function pendingRestart(vm: {
  readonly spec: SizeWishes & BootWishes & CardWishes["spec"];
  readonly cards?: CardWishes["cards"];
  readonly startedWith?: StartedWith;
  readonly lossPolicy?: LossPolicy;
  readonly nextLossPolicy?: { readonly policy: LossPolicy };
}): PendingField[] {
  const { spec, startedWith, lossPolicy = formerLossPolicy, nextLossPolicy } = vm;
  if (startedWith === undefined) return [];
  const { hotplug } = startedWith;
  const { onPartition } = nextLossPolicy?.policy ?? lossPolicy;
  const pending: PendingField[] = [];
  const compare = (field: PendingField["field"], runs: string | number = "none", wanted: string | number = "none") => {
    const differs = runs !== wanted || (field === "onPartition" && nextLossPolicy !== undefined);
    if (differs) pending.push({ field, runs: String(runs), wanted: String(wanted) });
  };
  for (const field of ["vcpus", "memoryMiB"] as const) {
    if (!isWithin(hotplug, field, spec[field])) compare(field, startedWith[field], spec[field]);
  }
  compare("vcpusMax", hotplug?.vcpus?.max, spec.vcpusMax);
  compare("memoryMiBMax", hotplug?.memoryMiB?.max, spec.memoryMiBMax);
  compare("cdroms", startedWith.cdroms?.join(","), namesOfDrives(spec)?.join(","));
  compare("bootOrder", startedWith.bootOrder?.join(","), spec.bootOrder?.join(","));
  compare("onPartition", startedWith.onPartition, onPartition);
  const { cards } = startedWith;
  if (cards !== undefined) compare("networks", cards.join(", ") || "none", cardTextsOf(vm).join(", ") || "none");
  return pending;
}

/** Undefined for a VM without drives. */
export function namesOfDrives({ cdroms = [] }: BootWishes): string[] | undefined {
  return cdroms.length === 0 ? undefined : cdroms.map(({ name }) => name);
}
