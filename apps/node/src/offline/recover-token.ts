/**
 * The way back when nobody is an administrator any more: a new text in the data directory of a voter. When that starts, it tells
 * the cluster, which believes it because it is a voter.
 */
import { BlixardError } from "@blixard/common";
import { systemRandom } from "@blixard/common/system";
import { adminTokenFile, newToken, readMembers } from "@blixard/server/data-dir";
import { assertStoreNotInUse } from "@blixard/storage/level";
import { checkDataDir } from "./check-data-dir.ts";

export interface TokenRecoveryPlan {
  readonly dataDir: string;
  readonly nodeId: number;
  readonly clusterId: string;
}

/** Only looks. @throws DATA_DIR_IN_USE, DATA_DIR_INVALID, CONFLICT for a node that is no voter */
export async function planTokenRecovery(path: string): Promise<TokenRecoveryPlan> {
  const { dataDir, nodeFile, nodes } = await checkDataDir(path);
  if (nodeFile === undefined) {
    throw new BlixardError("DATA_DIR_INVALID", `${dataDir} does not say which node it belongs to`, {
      hint: "Give the data directory of a voter of the cluster.",
    });
  }
  const { nodeId, clusterId } = nodeFile;
  const known = nodes.length > 0 ? nodes : ((await readMembers(dataDir))?.nodes ?? []);
  const role = known.find(({ id }) => id === nodeId)?.role;
  if (role !== undefined && role !== "voter") {
    throw new BlixardError("CONFLICT", `node ${nodeId} is a ${role}, and only voters have an administrator's token`, {
      hint: "Do this on a voter.",
    });
  }
  return { dataDir, nodeId, clusterId };
}

/** Does what the plan says. */
export async function recoverToken({ dataDir }: TokenRecoveryPlan): Promise<void> {
  await assertStoreNotInUse(dataDir);
  await adminTokenFile({ path: dataDir }).write(newToken(systemRandom));
}
