/** `blixard recover`: a person lets a node come back without its store. */
import { join } from "node:path";
import { BlixardError, type Clock } from "@blixard/common";
import { assertOthersCanAdmit, backupName, readMembers, type StoreMove, setStoreAside } from "@blixard/server/data-dir";
import { checkDataDir } from "./check-data-dir.ts";

export interface NodeRecoveryPlan extends StoreMove {
  readonly store: "whole" | "damaged" | "missing";
  /** What is wrong with it. */
  readonly damage: readonly string[];
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
  assertOthersCanAdmit(nodeFile.nodeId, known);
  return plan;
}

/** Does what the plan says. Safe to repeat after a crash in its middle. */
export async function recoverNode(plan: NodeRecoveryPlan, clock: Clock): Promise<void> {
  await setStoreAside(plan, clock);
}
