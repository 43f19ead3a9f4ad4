/** A volume that no VM has goes to another node, as the disks of a VM do (`disk-copy.ts`), because somebody wants it there. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { diskCopySchema } from "./disk-copy.ts";
import { operationIdSchema, operationRecordSchema } from "./operation.ts";
import { nameSchema, nodeIdSchema, writtenSchema } from "./values.ts";

/** Until the other node has all of it. */
export const volumeMovingSchema = z.object({
  operation: operationIdSchema,
  to: nodeIdSchema,
  /** The epoch that it has begun: what is said of the copy as of another one is void. */
  epoch: z.int().min(0),
  copy: diskCopySchema.exactOptional(),
});

export const volumeMoveCommands = {
  /** The volume is that node's which has a copy of all of it. */
  "volume.carry": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({ name: nameSchema, volumeId: z.uuid(), epoch: z.int().min(0) }),
  }),
};

export const volumeMoveMethods = {
  "volume.move": method({
    summary: "take a volume that no VM has to another node",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/volumes/{name}/move", merged: "operation" }],
    client: { group: "volumes", name: "move", args: "request" },
    request: z
      .object({
        name: nameSchema,
        to: nodeIdSchema,
        deadlineMs: z
          .int()
          .min(1_000)
          .max(limits.operationDeadlineMsMax)
          .describe("it fails when it is not done by then, and the volume stays where it was")
          .default(86_400_000),
      })
      .strict(),
    response: writtenSchema.extend({ operation: operationRecordSchema }),
  }),
};
