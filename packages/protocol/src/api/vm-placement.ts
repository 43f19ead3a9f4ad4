/** Where a VM may be, where it would rather be, and what it is worth when there is no room for all. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { labelKeySchema, labelsSchema, nodeTopology, selectorSchema } from "./labels.ts";

const affinitySchema = z
  .object({
    /** `near`: where one of the named VMs is; `apart`: where none of them is. */
    type: z.enum(["near", "apart"]),
    /** The VMs that have all of these labels. */
    vms: labelsSchema.refine((labels) => Object.keys(labels).length > 0, "names no label"),
    /** What counts as one place: all nodes with the same value of this label. Absent, or `node`: the node itself. */
    topology: labelKeySchema.exactOptional(),
    /** A wish, which a placement may leave unheard. Absent: a condition. */
    soft: z.boolean().exactOptional(),
  })
  .strict();
export type VmAffinity = Readonly<z.infer<typeof affinitySchema>>;

export const vmPlacementSchema = z
  .object({
    constraints: z
      .array(selectorSchema)
      .max(limits.vmConstraintsMax)
      .describe("what the labels of its node have to be")
      .exactOptional(),
    affinity: z
      .array(affinitySchema)
      .max(limits.vmAffinityMax)
      .describe("VMs that it has to be near to or apart from")
      .exactOptional(),
    spread: labelKeySchema
      .describe("a label of nodes: VMs with the labels of this one are spread over its values; node: over the nodes")
      .exactOptional(),
    priority: z
      .int()
      .min(0)
      .max(limits.vmPriorityMax)
      .describe(`of those that wait for room, the highest is placed first (default ${limits.vmPriorityDefault})`)
      .exactOptional(),
    preemptible: z.boolean().describe("it may be stopped to make room for a VM of a higher priority").exactOptional(),
  })
  .strict()
  .meta({ since: 3 });
export type VmPlacement = Readonly<z.infer<typeof vmPlacementSchema>>;

export function priorityOf({ placement }: { readonly placement?: VmPlacement }): number {
  return placement?.priority ?? limits.vmPriorityDefault;
}

/** The place in which a node is; undefined for a node without the label. */
export function domainOf(
  node: { readonly id: number; readonly labels?: Readonly<Record<string, string>> },
  topology: string = nodeTopology,
): string | undefined {
  if (topology === nodeTopology) return String(node.id);
  const { labels = {} } = node;
  return Object.hasOwn(labels, topology) ? labels[topology] : undefined;
}
