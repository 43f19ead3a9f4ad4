import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "@jest/globals";
import { InstanceStore } from "./instance-store.ts";
import { makeRunDirectory } from "./run-directory.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "./testing/temporary-directory.ts";

afterAll(removeTemporaryDirectories);

describe("makeRunDirectory", () => {
  it("keeps socket paths within 107 bytes, however deep the data directory is", async () => {
    const dataDir = join(await temporaryDirectory(), "deep".repeat(30));
    await mkdir(dataDir);
    const runDirectory = await makeRunDirectory(dataDir);
    try {
      const store = new InstanceStore(dataDir, runDirectory);
      const paths = store.pathsOf("11111111-2222-4333-8444-555555555555", 2 ** 31, runDirectory);
      expect(Buffer.byteLength(paths.controlSocket)).toBeLessThanOrEqual(107);
      expect((await stat(runDirectory)).mode & 0o777).toBe(0o700);
      expect(await makeRunDirectory(dataDir)).toBe(runDirectory);
    } finally {
      await rm(runDirectory, { recursive: true });
    }
  });

  it("stays in a data directory that is short enough", async () => {
    const dataDir = await temporaryDirectory();
    expect(await makeRunDirectory(dataDir)).toBe(join(dataDir, "run"));
  });
});
