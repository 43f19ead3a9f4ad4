/** What a person asks of a VM: the fields of its specification, in one place. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { imageNameSchema } from "./image.ts";
import { contradictingWishes, onNodeLossSchema, onPartitionSchema, wishesFit } from "./loss-policy.ts";
import { vmAutostartSchema } from "./vm-autostart.ts";
import { bootOrderSchema, drivesFit, sharedDriveName, vmCdromsSchema } from "./vm-cdroms.ts";
import { vmCloudInitSchema } from "./vm-cloud-init.ts";
import { vmDisksSchema } from "./vm-disks.ts";
import { vmHealthSchema } from "./vm-health.ts";
import {
  forwardsFit,
  forwardsWithoutNetwork,
  healthFits,
  healthWithoutNetwork,
  vmForwardsSchema,
  vmNetworksSchema,
} from "./vm-networks.ts";
import { vmPlacementSchema } from "./vm-placement.ts";
import { memoryMisfit, type SizeWishes, vcpusMisfit } from "./vm-size.ts";

/** The options of `vm create` and the OpenAPI document come from here: each field says in a few words what it is. */
export const vmSpecSchema = z
  .object({
    vcpus: z.int().min(1).max(limits.vmVcpusMax).describe("virtual CPUs").default(1),
    memoryMiB: z.int().min(limits.vmMemoryMiBMin).max(limits.vmMemoryMiBMax).describe("memory"),
    image: imageNameSchema.describe("what it boots"),
    onNodeLoss: onNodeLossSchema
      .meta({
        since: 3,
        description: "whether it is started elsewhere when its node is lost (default move; wait with data of its own)",
      })
      .exactOptional(),
    onPartition: onPartitionSchema
      .describe("what becomes of it when its node loses the cluster (default stop for one that moves, else keep)")
      .exactOptional(),
    restartPolicy: z
      .enum(["never", "on-failure", "always"])
      .describe("whether it starts again when it ends by itself")
      .default("on-failure"),
    /** Counted from the start of the process, or from the end of a pause. */
    bootDeadlineMs: z
      .int()
      .min(limits.vmBootDeadlineMsMin)
      .max(limits.vmBootDeadlineMsMax)
      .meta({
        since: 3,
        description: "ends it as failed when its serial console is silent for so long after a start; without: never",
      })
      .exactOptional(),
    autostart: vmAutostartSchema.exactOptional(),
    networks: vmNetworksSchema.exactOptional(),
    forwards: vmForwardsSchema.exactOptional(),
    disks: vmDisksSchema.exactOptional(),
    placement: vmPlacementSchema.exactOptional(),
    cloudInit: vmCloudInitSchema.exactOptional(),
    health: vmHealthSchema.exactOptional(),
    vcpusMax: z
      .int()
      .min(1)
      .max(limits.vmVcpusMax)
      .meta({ since: 3, description: "virtual CPUs up to which it grows while it runs; without: none are added" })
      .exactOptional(),
    memoryMiBMax: z
      .int()
      .min(limits.vmMemoryMiBMin)
      .max(limits.vmMemoryMiBMax)
      .meta({ since: 3, description: "memory up to which it grows while it runs; without: none is added" })
      .exactOptional(),
    cdroms: vmCdromsSchema.exactOptional(),
    bootOrder: bootOrderSchema.exactOptional(),
  })
  .strict()
  .refine(wishesFit, { path: ["onNodeLoss"], message: contradictingWishes })
  .refine(forwardsFit, { path: ["forwards"], message: forwardsWithoutNetwork })
  .refine(healthFits, { path: ["health"], message: healthWithoutNetwork })
  .refine((spec) => vcpusMisfit(spec) === undefined, {
    path: ["vcpus"],
    error: ({ input }) => vcpusMisfit(input as SizeWishes) ?? "",
  })
  .refine((spec) => memoryMisfit(spec) === undefined, {
    path: ["memoryMiB"],
    error: ({ input }) => memoryMisfit(input as SizeWishes) ?? "",
  })
  .refine(drivesFit, { path: ["cdroms"], message: sharedDriveName });
export type VmSpec = z.infer<typeof vmSpecSchema>;
export type VmSpecInput = z.input<typeof vmSpecSchema>;

/** Why the fields of a specification do not fit each other; undefined when they do. Each of them is valid. */
export function misfitOf(spec: VmSpec): string | undefined {
  if (!wishesFit(spec)) return `spec.onNodeLoss: ${contradictingWishes}`;
  if (!forwardsFit(spec)) return `spec.forwards: ${forwardsWithoutNetwork}`;
  if (!healthFits(spec)) return `spec.health: ${healthWithoutNetwork}`;
  if (!drivesFit(spec)) return `spec.cdroms: ${sharedDriveName}`;
  const vcpus = vcpusMisfit(spec);
  if (vcpus !== undefined) return `spec.vcpus: ${vcpus}`;
  const memory = memoryMisfit(spec);
  return memory === undefined ? undefined : `spec.memoryMiB: ${memory}`;
}
