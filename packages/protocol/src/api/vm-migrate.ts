/** A VM goes to another node because somebody wants it there. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { method } from "./definitions.ts";
import { operationRecordSchema } from "./operation.ts";
import { nameSchema, nodeIdSchema, writtenSchema } from "./values.ts";

export const vmMigrateMethods = {
  "vm.migrate": method({
    summary: "stop a VM, take its disks to another node, and start it there",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/vms/{name}/migrate", merged: "operation" }],
    client: { group: "vms", name: "migrate", args: "request" },
    request: z
      .object({
        name: nameSchema,
        to: nodeIdSchema.describe("default: one that the leader chooses").exactOptional(),
        deadlineMs: z
          .int()
          .min(1_000)
          .max(limits.operationDeadlineMsMax)
          .describe("it fails when it is not done by then, and the VM starts again where it was")
          .default(86_400_000),
      })
      .strict(),
    response: writtenSchema.extend({ operation: operationRecordSchema }),
  }),
};
