import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "@blixard/common";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { checkLevelStorage } from "./check-level-storage.ts";
import { openLevelStorage } from "./open-level-storage.ts";

/** Words that LevelDB uses for damage, in the path of a healthy store. */
const words = "current no such file corruption does not exist";
const otherUser = 65_534;

let root = "";
let dataDir = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-system-"));
  await chmod(root, 0o755);
  dataDir = join(root, words);
  const storage = await openLevelStorage({ dataDir });
  await storage.close();
});
afterEach(() => rm(root, { recursive: true }));

/** Runs `work` as a user who may read nothing of the store; where this process is no root, its own rights are taken. */
async function asOtherUser(work: () => Promise<void>): Promise<void> {
  if (process.getuid?.() !== 0) {
    await chmod(join(dataDir, "log"), 0o000);
    return work().finally(() => chmod(join(dataDir, "log"), 0o700));
  }
  await chmod(dataDir, 0o755);
  process.seteuid?.(otherUser);
  return work().finally(() => process.seteuid?.(0));
}

describe("a store that the system does not let this process use", () => {
  it("is not called damaged, nor is recover advised, for the files of another user", async () => {
    await asOtherUser(async () => {
      for (const open of [openLevelStorage, checkLevelStorage]) {
        const error: unknown = await open({ dataDir }).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ code: "DATA_DIR_INVALID", details: { errno: "EACCES" } });
        expect(`${messageOf(error)} ${(error as { hint?: string }).hint}`).not.toContain("recover");
      }
    });
  });

  it.each(["snapshots", "log", "state"])(
    "is not called damaged for a path with LevelDB's words in it: %s",
    async (part) => {
      const lock = join(dataDir, part, "LOCK");
      await rm(lock);
      await mkdir(lock);
      await expect(openLevelStorage({ dataDir })).rejects.toMatchObject({
        code: "DATA_DIR_INVALID",
        details: { errno: "EISDIR" },
      });
    },
  );

  it("is called damaged when its database is gone", async () => {
    await rm(join(dataDir, "log"), { recursive: true });
    await expect(openLevelStorage({ dataDir })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    await rm(join(dataDir, "snapshots"), { recursive: true });
    await expect(openLevelStorage({ dataDir })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });
});
