/**
 * What becomes of a VM when its node is lost, or loses the cluster. What a person gave stands in the specification; what
 * follows from it, and from whether the VM has data of its own, is decided once, when the VM is created, and stands in its
 * record. Own data is any writable local disk: nobody can start that VM elsewhere with what it had.
 */
import { z } from "zod";

/** `move`: once the lease of its node is over, the cluster starts it elsewhere. `wait`: it waits for its node. */
export const onNodeLossSchema = z.enum(["move", "wait"]);
/** `stop`: it ends when its node has no lease. `keep`: it runs on, so it can never be started elsewhere. */
export const onPartitionSchema = z.enum(["stop", "keep"]);
export const lossEffectSchema = z.enum(["moves", "moves without data", "waits"]);

export const lossPolicySchema = z.object({
  onNodeLoss: onNodeLossSchema,
  onPartition: onPartitionSchema,
  /** What that comes to, for people. */
  effect: lossEffectSchema,
});
export type LossPolicy = Readonly<z.infer<typeof lossPolicySchema>>;

/** What was given of it; each may be left out. */
export interface LossWishes {
  readonly onNodeLoss?: "move" | "wait" | undefined;
  readonly onPartition?: "stop" | "keep" | undefined;
}

/** Of VMs from before there were leases: nobody asked for more, so they run on, and stay where they are. */
export const formerLossPolicy: LossPolicy = { onNodeLoss: "wait", onPartition: "keep", effect: "waits" };

export const contradictingWishes =
  "move needs onPartition: stop; a VM that keeps running without its cluster would run twice when it is moved";

/** False for wishes that no VM can have: one that is started elsewhere must have stopped where it was. */
export function wishesFit({ onNodeLoss, onPartition }: LossWishes): boolean {
  return onNodeLoss !== "move" || onPartition !== "keep";
}

/** The policy of a VM that is made now. The wishes fit each other. */
export function lossPolicyOf(wishes: LossWishes, { ownData }: { readonly ownData: boolean }): LossPolicy {
  const onNodeLoss = wishes.onNodeLoss ?? (ownData || wishes.onPartition === "keep" ? "wait" : "move");
  const onPartition = wishes.onPartition ?? (onNodeLoss === "move" ? "stop" : "keep");
  const effect = onNodeLoss === "wait" ? "waits" : ownData ? "moves without data" : "moves";
  return { onNodeLoss, onPartition, effect };
}
