/** `comeback.json`: the last time that this node came back by itself without its store. It stays. */
import { join } from "node:path";
import { errnoOf, fileErrorOf, isBlixardError, systemErrorCodeOf } from "@blixard/common";
import { readOwnFile, writeFileDurable } from "@blixard/common/system";
import { z } from "zod";

const comebackSchema = z.object({
  formatVersion: z.literal(1),
  startedUnixMs: z.int(),
  /** Where the store was moved to. */
  backup: z.string(),
  /** What was wrong with it. */
  reason: z.string(),
});
export type ComebackFile = z.infer<typeof comebackSchema>;

const pathIn = (dataDir: string) => join(dataDir, "comeback.json");

/** Undefined when there is none, or when it cannot be understood. @throws what the system says about the file */
export async function readComeback(dataDir: string): Promise<ComebackFile | undefined> {
  try {
    return comebackSchema.parse(JSON.parse(readOwnFile(pathIn(dataDir), { public: true })));
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    if (isBlixardError(error) || errnoOf(error) !== undefined) throw fileErrorOf(error, pathIn(dataDir));
    return undefined;
  }
}

export async function writeComeback(dataDir: string, comeback: ComebackFile): Promise<void> {
  await writeFileDurable(pathIn(dataDir), `${JSON.stringify(comeback, null, 2)}\n`);
}
