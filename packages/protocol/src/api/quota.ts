/**
 * What the VMs of a project may take together: those with the label `project`. Whoever creates a VM chooses its labels, so that
 * a quota keeps people from mistakes, and nobody from having more.
 */
import { z } from "zod";
import { command, method } from "./definitions.ts";
import { labelValueSchema } from "./labels.ts";
import { listSchema, pageSchema } from "./list.ts";
import { writtenSchema } from "./values.ts";

/** The label that says to which project a VM belongs. */
export const projectLabel = "project";

const projectSchema = labelValueSchema.min(1);
const amountSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

/** What is not named is not limited. VMs count whether they run or not. */
export const quotaSchema = z.object({
  vms: amountSchema.exactOptional(),
  vcpus: amountSchema.exactOptional(),
  memoryMiB: amountSchema.exactOptional(),
  /** Of disks; volumes do not count. */
  diskMiB: amountSchema.exactOptional(),
});
export type Quota = Readonly<z.infer<typeof quotaSchema>>;

/** By project. */
export const quotasSchema = z.record(projectSchema, quotaSchema);

const quotaViewSchema = z.object({
  project: projectSchema,
  quota: quotaSchema,
  used: z.object({ vms: z.int(), vcpus: z.int(), memoryMiB: z.int(), diskMiB: z.int() }),
});
export type QuotaView = z.infer<typeof quotaViewSchema>;

const givenSchema = { project: projectSchema, quota: quotaSchema.strict() };

export const quotaCommands = {
  /** Without a quota the project has none any more. */
  "quota.set": command({
    since: 3,
    subject: ({ project }) => project,
    body: z.object({ project: projectSchema, quota: quotaSchema.exactOptional() }),
  }),
};

export const quotaMethods = {
  "quota.list": method({
    summary: "what the VMs of projects may take, and what they take",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/quotas" }],
    client: { group: "quotas", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(quotaViewSchema),
  }),
  "quota.set": method({
    summary: "limit what the VMs of a project may take; those that there are stay",
    since: 3,
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "PUT", path: "/v1/quotas/{project}" }],
    client: { group: "quotas", name: "set", args: ["project", "quota"] },
    request: z.object(givenSchema).strict(),
    response: writtenSchema,
  }),
  "quota.remove": method({
    summary: "let the VMs of a project take what they find",
    since: 3,
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/quotas/{project}" }],
    client: { group: "quotas", name: "remove", args: ["project"] },
    request: z.object({ project: projectSchema }).strict(),
    response: writtenSchema,
  }),
};
