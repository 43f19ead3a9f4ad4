/**
 * Changing a VM that there is. The record holds what is wanted; what the running process does not have of it waits for a restart
 * (`pendingRestart`). What a VM is made of, its image, is no field that changes.
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { labelKeySchema, labelsSchema } from "./labels.ts";
import { nameSchema, writtenSchema } from "./values.ts";
import { vmRecordSchema } from "./vm.ts";
import { vmCardsSchema } from "./vm-cards.ts";
import { type VmSpec, vmSpecSchema } from "./vm-spec.ts";

const { shape } = vmSpecSchema;

/** Any field of the specification; those that cannot be changed are refused with what to do instead. */
const vmSpecChangeSchema = z
  .object({
    ...shape,
    vcpus: shape.vcpus.unwrap().exactOptional(),
    memoryMiB: shape.memoryMiB.exactOptional(),
    image: shape.image.exactOptional(),
    restartPolicy: shape.restartPolicy.unwrap().exactOptional(),
  })
  .strict();

/** The fields that can be changed, those after which a VM still is one without. */
const unsettable = {
  onNodeLoss: true,
  onPartition: true,
  bootDeadlineMs: true,
  autostart: true,
  forwards: true,
  placement: true,
  health: true,
  vcpusMax: true,
  memoryMiBMax: true,
  cdroms: true,
  bootOrder: true,
  networks: true,
} as const;
const settableSchema = vmSpecChangeSchema
  .pick({ vcpus: true, memoryMiB: true, restartPolicy: true, ...unsettable })
  .strict();
export type VmSettable = Readonly<z.infer<typeof settableSchema>>;

const unsetSchema = z.enum(Object.keys(unsettable) as (keyof typeof unsettable)[]);
export type UnsettableField = z.infer<typeof unsetSchema>;

export const settableFields = Object.keys(settableSchema.shape) as readonly (keyof VmSettable)[];
export const unsettableFields: readonly UnsettableField[] = unsetSchema.options;

const unsetFieldsSchema = z.array(unsetSchema).max(unsetSchema.options.length);
const unsetLabelsSchema = z.array(labelKeySchema).max(limits.labelsMax);

/** What is to become of a specification and its labels, field by field: two changes of different fields do not undo each other. */
export const vmChangeSchema = z.object({
  set: settableSchema,
  unset: unsetFieldsSchema,
  labels: labelsSchema,
  unsetLabels: unsetLabelsSchema,
  /** What it has in private networks from then on, as the leader gives it out. Absent: what it has. */
  cards: vmCardsSchema.exactOptional(),
});
export type VmSpecChange = Readonly<z.infer<typeof vmChangeSchema>>;

/** The specification after a change; whether it is one is not looked at. */
export function changedSpec(spec: VmSpec, { set, unset }: Pick<VmSpecChange, "set" | "unset">): VmSpec {
  const taken: readonly string[] = unset;
  const kept = Object.entries(spec).filter(([field]) => !taken.includes(field));
  return { ...(Object.fromEntries(kept) as VmSpec), ...set };
}

/** The labels after a change, in the order of their keys. */
export function changedLabels(
  labels: Readonly<Record<string, string>> = {},
  change: Pick<VmSpecChange, "labels" | "unsetLabels">,
): Record<string, string> {
  const kept = Object.entries({ ...labels, ...change.labels }).filter(([key]) => !change.unsetLabels.includes(key));
  return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const changedFieldSchema = z.object({
  field: z.string(),
  /** As JSON, cut where it is long. Absent: there was none. */
  from: z.string().exactOptional(),
  to: z.string().exactOptional(),
  effect: z
    .enum(["now", "restart", "placement"])
    .describe("restart: when the VM starts again; placement: when it is placed the next time"),
});
export type ChangedField = Readonly<z.infer<typeof changedFieldSchema>>;

export const vmSetCommands = {
  "vm.set": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({ name: nameSchema, ...vmChangeSchema.shape }),
  }),
};

export const vmSetMethods = {
  "vm.set": method({
    summary: "change the specification and the labels of a VM",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "PATCH", path: "/v1/vms/{name}/spec" }],
    client: { group: "vms", name: "set", args: "request" },
    request: z
      .object({
        name: nameSchema,
        spec: vmSpecChangeSchema
          .describe("the fields that change; of placement and autostart only the parts that are named")
          .exactOptional(),
        unset: unsetFieldsSchema.describe("fields that it is to have no more").default([]),
        labels: labelsSchema.exactOptional(),
        unsetLabels: unsetLabelsSchema.default([]),
        unsetNetworks: z
          .array(nameSchema)
          .max(limits.vmNetworksMax)
          .describe("networks whose cards it is to lose; those that spec.networks does not name stay")
          .default([]),
        whole: z
          .boolean()
          .describe("spec and labels are all that it is to have: what they do not name gets its default")
          .default(false),
        dryRun: z.boolean().describe("only say what would change").default(false),
      })
      .strict(),
    response: writtenSchema.extend({
      /** As it is now; in a dry run, as it would be. */
      vm: vmRecordSchema,
      changes: z.array(changedFieldSchema),
    }),
  }),
};
