/**
 * VMs that no node can take now. Such a VM has a record without a node, which says why, and the leader places it when there is
 * room:
 *
 *     vm.create --> Pending, on no node -- vm.place with a node --> Pending, on that node
 *                     |        '-- vm.place without one: the reason is another one by now
 *                     '-- a person stops or deletes it
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command } from "./definitions.ts";
import { nameSchema, nodeIdSchema } from "./values.ts";

const reasonSchema = z.string().max(limits.placementLengthMax);

/** The reason in the record of a VM that waits for room. */
export const waitsForRoom = "no-node-fits";

/** Whether a VM runs nowhere, and is placed by the leader as soon as a node can take it. */
export function isQueued(vm: {
  readonly node: number | null;
  readonly phase: string;
  readonly desired: string;
}): boolean {
  return vm.node === null && vm.phase === "Pending" && vm.desired === "running";
}

/** The VM that a preemptible one has made room for. */
export const preemptedSchema = z.object({ by: nameSchema, unixMs: z.int().min(0) });

export const vmQueueCommands = {
  /** Stops a VM that may be preempted, because another one of a higher priority waits for room. */
  "vm.preempt": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({ name: nameSchema, vmId: z.uuid(), fencingEpoch: z.int().min(0), by: nameSchema }),
  }),
  /** Decided by the leader about a VM that waits for room: where it goes, or why it still waits. */
  "vm.place": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      vmId: z.uuid(),
      fencingEpoch: z.int().min(0),
      node: nodeIdSchema.exactOptional(),
      reason: reasonSchema,
    }),
  }),
};
