/**
 * Brings a node back whose store is damaged, lost or too old: its store is moved aside, its key and identity stay, and
 * at the next start the cluster admits it again, as a learner with the next incarnation.
 */
import { BlixardError, type Clock } from "@blixard/common";
import type { NodeRecord } from "@blixard/protocol";
import { assertStoreNotInUse, hasStore, moveStore } from "@blixard/storage/level";
import { readMembers, writeMembers } from "./members-file.ts";
import { writeRecovery } from "./recovery-file.ts";

export interface StoreMove {
  readonly dataDir: string;
  readonly nodeId: number;
  readonly clusterId: string;
  /** Where the store goes; nothing is deleted. */
  readonly backup: string;
  /** The other members as this node knew them. When there is none, the next start needs `--join`. */
  readonly others: readonly NodeRecord[];
}

/** Safe to repeat after a crash in its middle. @throws DATA_DIR_IN_USE, STORAGE_FAILED */
export async function setStoreAside(move: StoreMove, clock: Clock): Promise<void> {
  const { dataDir, backup, nodeId, clusterId, others } = move;
  await assertStoreNotInUse(dataDir);
  const members = await readMembers(dataDir);
  if (others.length > 0) {
    const { role, incarnation } = members ?? { role: "voter", incarnation: 1 };
    await writeMembers(dataDir, { nodeId, clusterId, role, incarnation, nodes: others });
  }
  // The mark first: with it a half-moved store is a node on its way back, without it a damaged one.
  await writeRecovery(dataDir, { formatVersion: 1, backup, startedUnixMs: clock.unixMs() });
  if (await hasStore(dataDir)) await moveStore(dataDir, backup);
}

export const votes = ({ role }: Pick<NodeRecord, "role">) => role === "voter" || role === "witness";

/** How many of the others that vote have to answer: the configuration without this node is committed by those with it. */
export function admittersNeeded(nodeId: number, known: readonly NodeRecord[]): number {
  const own = known.find((node) => node.id === nodeId);
  const others = known.filter((node) => node.id !== nodeId && votes(node)).length;
  const voters = own === undefined || votes(own) ? others + 1 : others;
  return Math.floor(voters / 2) + 1;
}

/** @throws QUORUM_AT_RISK when the other voters that are known could never admit this node again */
export function assertOthersCanAdmit(nodeId: number, known: readonly NodeRecord[]): void {
  const own = known.find((node) => node.id === nodeId);
  if (known.length === 0 || (own !== undefined && !votes(own))) return;
  const voters = known.filter((node) => node.id !== nodeId && votes(node)).length;
  const needed = admittersNeeded(nodeId, known);
  if (voters >= needed) return;
  const message =
    voters === 0
      ? `node ${nodeId} is the only voter of its cluster: nobody else has its data`
      : `without node ${nodeId} there are ${voters} voters, and ${needed} are needed to admit it again`;
  throw new BlixardError("QUORUM_AT_RISK", message, {
    hint:
      voters === 0
        ? "Restore the data directory from a backup."
        : "Run blixard cluster recover on the other node; then let this one join with an empty data directory.",
  });
}
