/**
 * Brings a node back whose store is damaged, lost or too old: its store is moved aside, its key and identity stay, and
 * at the next start the cluster admits it again, as a learner with the next incarnation.
 */
import { join } from "node:path";
import { BlixardError, type Clock } from "@blixard/common";
import type { NodeRecord } from "@blixard/protocol";
import { readMembers, writeMembers, writeRecovery } from "@blixard/server/data-dir";
import { assertStoreNotInUse, hasStore, moveStore } from "@blixard/storage/level";
import { backupName } from "./backup-name.ts";
import { checkDataDir } from "./check-data-dir.ts";

export interface NodeRecoveryPlan {
  readonly dataDir: string;
  readonly nodeId: number;
  readonly clusterId: string;
  readonly store: "whole" | "damaged" | "missing";
  /** What is wrong with it. */
  readonly damage: readonly string[];
  /** Where the store goes; nothing is deleted. */
  readonly backup: string;
  /** The other members as this node knew them. When there is none, the next start needs `--join`. */
  readonly others: readonly NodeRecord[];
}

/** Only looks. @throws DATA_DIR_IN_USE, DATA_DIR_INVALID, QUORUM_AT_RISK when nobody could admit the node again */
export async function planNodeRecovery(path: string, clock: Clock): Promise<NodeRecoveryPlan> {
  const report = await checkDataDir(path);
  const { dataDir, nodeFile, store } = report;
  if (nodeFile === undefined) {
    throw new BlixardError("DATA_DIR_INVALID", `${dataDir} does not say which node it belongs to`, {
      hint: "A node that was in no cluster has nothing to recover: start it with an empty data directory.",
    });
  }
  const key = report.findings.find(({ part }) => part === "node.key");
  if (key?.ok !== true) {
    throw new BlixardError("DATA_DIR_FOREIGN", `${dataDir}/node.key: ${key?.detail ?? "not read"}`, {
      hint: "Restore node.key from a backup. Without it, remove the node and let a new one join.",
    });
  }
  const known = report.nodes.length > 0 ? report.nodes : ((await readMembers(dataDir))?.nodes ?? []);
  const plan: NodeRecoveryPlan = {
    dataDir,
    nodeId: nodeFile.nodeId,
    clusterId: nodeFile.clusterId,
    store: store === undefined ? "missing" : store.damaged ? "damaged" : "whole",
    damage: report.findings.filter(({ ok }) => !ok).map(({ part, detail }) => `${part}: ${detail}`),
    backup: join(dataDir, backupName(clock)),
    others: known.filter((node) => node.id !== nodeFile.nodeId),
  };
  assertOthersCanAdmit(plan, known);
  return plan;
}

/** Does what the plan says. Safe to repeat after a crash in its middle. */
export async function recoverNode(plan: NodeRecoveryPlan, clock: Clock): Promise<void> {
  const { dataDir, backup } = plan;
  await assertStoreNotInUse(dataDir);
  const members = await readMembers(dataDir);
  if (plan.others.length > 0) {
    const { role, incarnation } = members ?? { role: "voter", incarnation: 1 };
    await writeMembers(dataDir, { ...plan, role, incarnation, nodes: plan.others });
  }
  // The mark first: with it a half-moved store is a node on its way back, without it a damaged one.
  await writeRecovery(dataDir, { formatVersion: 1, backup, startedUnixMs: clock.unixMs() });
  if (await hasStore(dataDir)) await moveStore(dataDir, backup);
}

/** The configuration without this voter has to be committed by a majority of the one with it. */
function assertOthersCanAdmit({ nodeId, others }: NodeRecoveryPlan, known: readonly NodeRecord[]): void {
  const votes = ({ role }: NodeRecord) => role === "voter" || role === "witness";
  const own = known.find((node) => node.id === nodeId);
  if (known.length === 0 || (own !== undefined && !votes(own))) return;
  const voters = others.filter(votes).length;
  const needed = Math.floor((voters + 1) / 2) + 1;
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
