import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { lockDataDir } from "./data-dir-lock.ts";

describe("lockDataDir", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-lock-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it("refuses a directory that a living process holds, until it lets go", async () => {
    const lock = await lockDataDir(root);
    await expect(lockDataDir(root)).rejects.toMatchObject({ code: "DATA_DIR_IN_USE" });
    await lock.release();
    await (await lockDataDir(root)).release();
  });

  it("takes a copy of a directory that is held, because nobody holds the copy", async () => {
    const original = join(root, "original");
    const copy = join(root, "copy");
    await mkdir(original);
    const lock = await lockDataDir(original);
    await cp(original, copy, { recursive: true });
    await (await lockDataDir(copy)).release();
    await lock.release();
  });
});
