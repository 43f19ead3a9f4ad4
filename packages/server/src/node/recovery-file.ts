/**
 * `recover.json`: `blixard recover` was here, or the node set its damaged store aside by itself. The node asks to be admitted
 * again, and then the file goes.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, errnoOf, fileErrorOf, isBlixardError, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { readOwnFile, writeFileDurable } from "@blixard/common/system";
import { z } from "zod";

const recoverySchema = z.object({
  formatVersion: z.literal(1),
  /** Where the store was moved to. */
  backup: z.string(),
  startedUnixMs: z.int(),
});
export type RecoveryFile = z.infer<typeof recoverySchema>;

const pathIn = (dataDir: string) => join(dataDir, "recover.json");

export async function readRecovery(dataDir: string): Promise<RecoveryFile | undefined> {
  try {
    return recoverySchema.parse(JSON.parse(readOwnFile(pathIn(dataDir), { public: true })));
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    if (isBlixardError(error) || errnoOf(error) !== undefined) throw fileErrorOf(error, pathIn(dataDir));
    throw new BlixardError("DATA_DIR_INVALID", `${pathIn(dataDir)}: ${reasonOf(error)}`, {
      cause: error,
      hint: "Run blixard recover again.",
    });
  }
}

export async function writeRecovery(dataDir: string, recovery: RecoveryFile): Promise<void> {
  await writeFileDurable(pathIn(dataDir), `${JSON.stringify(recovery, null, 2)}\n`);
}

export async function removeRecovery(dataDir: string): Promise<void> {
  await rm(pathIn(dataDir), { force: true });
}
