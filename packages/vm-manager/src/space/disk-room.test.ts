import { statfs } from "node:fs/promises";
import { silentLogger } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterAll, describe, expect, it } from "@jest/globals";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { DiskRoom, isNews } from "./disk-room.ts";

afterAll(removeTemporaryDirectories);

describe("DiskRoom", () => {
  it("says how much the file system of a directory holds, and what of it is free", async () => {
    const directory = await temporaryDirectory();
    const room = await DiskRoom.open({ clock: systemClock, logger: silentLogger, directory });
    const { bsize, blocks } = await statfs(directory);
    const { totalMiB, freeMiB } = room.facts.value;
    expect(totalMiB).toBeLessThanOrEqual((blocks * bsize) / 1024 ** 2);
    expect(totalMiB).toBeGreaterThan(0);
    expect(freeMiB).toBeLessThanOrEqual(totalMiB);
    await room.close();
  });
});

describe("isNews", () => {
  it.each([
    ["nothing", 0, 0, false],
    ["less than a gibibyte of a large file system", 0, 1_023, false],
    ["a gibibyte of it", 0, 1_024, true],
    ["its size", 1, 0, true],
  ])("looks at what has changed: %s", (_, grownMiB, writtenMiB, news) => {
    const before = { totalMiB: 100_000, freeMiB: 50_000 };
    const now = { totalMiB: before.totalMiB + grownMiB, freeMiB: before.freeMiB - writtenMiB };
    expect(isNews(before, now)).toBe(news);
  });

  it("takes a fiftieth of a small one for much", () => {
    const before = { totalMiB: 1_000, freeMiB: 500 };
    expect(isNews(before, { ...before, freeMiB: 481 })).toBe(false);
    expect(isNews(before, { ...before, freeMiB: 520 })).toBe(true);
  });
});
