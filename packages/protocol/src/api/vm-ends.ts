/** How a VM ended the last times. A start that follows hides no end: why it was needed is told afterwards too. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { nodeIdSchema } from "./values.ts";

const vmEndSchema = z.object({
  unixMs: z.int().min(0),
  /** One term: `guest-panic`, `host-reboot`, `stop-requested`, ... */
  reason: z.string().max(64),
  message: z.string().max(limits.vmEndMessageLengthMax),
  stoppedBy: z
    .enum(["itself", "agent", "acpi", "quit", "sigterm", "sigkill", "host", "not-started"])
    .describe(
      "itself: the guest, or its machine; agent, acpi: the guest, on request; quit, sigterm, sigkill: the node, the guest was not " +
        "asked or did not listen; host: a boot of the machine, or somebody on it; not-started: nothing ran",
    ),
  fencingEpoch: z.int().min(0),
});
export type VmEnd = z.infer<typeof vmEndSchema>;

const recordedEndSchema = vmEndSchema.extend({ node: nodeIdSchema });
export type RecordedVmEnd = z.infer<typeof recordedEndSchema>;

/** The last ends on the node that tells of them, the newest last. */
export const observedEndsSchema = z.array(vmEndSchema).max(limits.vmEndsMax).meta({ since: 3 });
/** The last ends on any node, the newest last. */
export const recordedEndsSchema = z.array(recordedEndSchema).max(limits.vmEndsMax).meta({ since: 3 });

/** The ends of a record after `node` told of those that it knows. To tell the same once more changes nothing. */
export function withObservedEnds(
  present: readonly RecordedVmEnd[],
  seen: readonly VmEnd[],
  node: number,
): RecordedVmEnd[] {
  const isSeen = (end: RecordedVmEnd) =>
    end.node === node && seen.some(({ unixMs, reason }) => unixMs === end.unixMs && reason === end.reason);
  const all = [...present.filter((end) => !isSeen(end)), ...seen.map((end) => ({ ...end, node }))];
  return all.sort((a, b) => a.unixMs - b.unixMs).slice(-limits.vmEndsMax);
}
