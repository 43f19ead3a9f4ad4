/** `join.json`: the members as this node saw them last. With it a node whose store is lost finds the others. */
import { join } from "node:path";
import type { JoinSeed } from "@blixard/cluster";
import { errnoOf, fileErrorOf, isBlixardError, type Logger, messageOf, SerialQueue } from "@blixard/common";
import { readOwnFile, writeFileDurable } from "@blixard/common/system";
import { logPositionSchema, memberRoleSchema, nodeIdSchema, nodeRecordSchema } from "@blixard/protocol";
import { z } from "zod";

const seedSchema = z.object({
  clusterId: z.string().min(1),
  nodeId: nodeIdSchema,
  role: memberRoleSchema,
  incarnation: z.int().min(1),
  nodes: z.array(nodeRecordSchema),
  admission: logPositionSchema.optional(),
});

const pathIn = (dataDir: string) => join(dataDir, "join.json");

/** Undefined when there is none, or when it cannot be understood. */
export async function readMembers(dataDir: string): Promise<JoinSeed | undefined> {
  try {
    return seedSchema.parse(JSON.parse(readOwnFile(pathIn(dataDir), { public: true })));
  } catch (error) {
    if (isBlixardError(error)) throw error;
    // A file that this user cannot read is not one that nobody wrote.
    if (errnoOf(error) !== undefined && errnoOf(error) !== "ENOENT") throw fileErrorOf(error, pathIn(dataDir));
    return undefined;
  }
}

export async function writeMembers(dataDir: string, seed: JoinSeed): Promise<void> {
  await writeFileDurable(pathIn(dataDir), `${JSON.stringify(seed)}\n`);
}

/** Keeps the file equal to the members while a node runs. */
export class MembersFile {
  readonly #dataDir: string;
  readonly #logger: Logger;
  readonly #writes = new SerialQueue();

  constructor(dataDir: string, logger: Logger) {
    this.#dataDir = dataDir;
    this.#logger = logger;
  }

  /** Never throws: the file is a help for bad days, and no reason to stop. */
  keep(seed: JoinSeed): void {
    void this.#writes.run(async () => {
      try {
        await writeMembers(this.#dataDir, seed);
      } catch (error) {
        this.#logger.log("warn", "the members could not be written to join.json", { error: messageOf(error) });
      }
    });
  }

  async close(): Promise<void> {
    await this.#writes.idle();
  }
}
