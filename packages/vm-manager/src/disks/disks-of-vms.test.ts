/** When a node makes the disks of a VM, keeps them, and lets them go. The fake driver runs nothing; the files are real. */
import { existsSync } from "node:fs";
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { VmDisk } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { FakeDriver } from "../fake/fake-driver.ts";
import { rawDiskImage } from "../testing/boot-sector.ts";
import { VmHarness, type VmWish } from "../testing/vm-harness.ts";

const drivers = [new FakeDriver()];
const kept: VmDisk = { name: "kept", sizeGiB: 1 };
const scratch: VmDisk = { name: "scratch", sizeGiB: 1, ephemeral: true };

async function opened(disks: readonly VmDisk[]) {
  const harness = await VmHarness.open({ drivers });
  const directory = join(harness.dataDir, "instances", harness.vmId);
  const file = (name: string) => join(directory, `disk-${name}.raw`);
  const want = (wish: VmWish = {}) => harness.want({ ...wish, spec: { disks: [...disks] } });
  const leave = async () => {
    harness.manager.setDesired([]);
    await harness.manager.observations.until((all) => !all.has(harness.vmId));
  };
  const missing = (name: string) =>
    harness.until("disk-missing", (seen) => seen.reason === "disk-missing" && seen.message.includes(name));
  return { harness, directory, file, want, leave, missing };
}

describe("a disk that was made once", () => {
  it("is missing when it has vanished, and is found again when it is back", async () => {
    const { harness: opening, file, want, missing } = await opened([kept]);
    await using harness = opening;
    want();
    expect(await harness.untilReady()).toMatchObject({ disks: ["kept"] });
    await rename(file("kept"), `${file("kept")}.aside`);
    want({ fencingEpoch: 2 });
    expect(await missing("kept")).toMatchObject({ phase: "Failed", fencingEpoch: 2 });
    expect(existsSync(file("kept"))).toBe(false);
    await rename(`${file("kept")}.aside`, file("kept"));
    want({ fencingEpoch: 3 });
    await harness.untilReady(3);
  });

  it("is missing where the node has forgotten all of the VM, when the cluster remembers", async () => {
    const { harness: opening, directory, file, want, missing } = await opened([kept, scratch]);
    await using harness = opening;
    want();
    await harness.untilReady();
    await harness.close();
    await rm(directory, { recursive: true });
    await harness.reopen();
    want({ madeDisks: ["kept", "scratch"] });
    expect(await missing("kept")).toMatchObject({ phase: "Failed", fencingEpoch: 1 });
    expect(existsSync(file("kept"))).toBe(false);
  });

  it("is the root of an image too, which a node of an earlier release has made", async () => {
    await using harness = await VmHarness.open({ drivers });
    const image = await rawDiskImage(harness.manager);
    const directory = join(harness.dataDir, "instances", harness.vmId);
    harness.want({ image });
    await harness.untilReady();
    await harness.close();
    const path = join(directory, "instance.json");
    const { disks: _, ...former } = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify(former));
    await rm(join(directory, "disk.raw"));
    await harness.reopen();
    harness.want({ image, fencingEpoch: 2 });
    expect(await harness.untilPhase("Failed")).toMatchObject({ reason: "disk-missing" });
    expect(existsSync(join(directory, "disk.raw"))).toBe(false);
  });
});

describe("a VM that leaves its node", () => {
  it("leaves what it keeps, and takes nothing else up again when it comes back from another one", async () => {
    const { harness: opening, file, want, leave } = await opened([kept, scratch]);
    await using harness = opening;
    want();
    await harness.untilReady();
    await writeFile(file("kept"), "old, and nobody's but the VM's");
    await writeFile(file("scratch"), "old");
    await leave();
    expect([existsSync(file("kept")), existsSync(file("scratch"))]).toEqual([true, false]);
    want({ fencingEpoch: 3 });
    await harness.untilReady(3);
    expect(await readFile(file("kept"), "utf8")).toContain("old");
    want({ fencingEpoch: 3, desired: "deleted" });
    await harness.untilPhase("Deleted");
    expect([existsSync(file("kept")), existsSync(file("scratch"))]).toEqual([false, false]);
  });

  it("gets fresh ephemeral disks also from a node that was away when it left, and keeps them while it stays", async () => {
    const { harness: opening, directory, file, want, leave } = await opened([scratch]);
    await using harness = opening;
    want();
    await harness.untilReady();
    await writeFile(file("scratch"), "of this node");
    want({ fencingEpoch: 2, madeDisks: ["scratch"] });
    await harness.untilReady(2);
    expect(await readFile(file("scratch"), "utf8")).toBe("of this node");
    // The cluster says by now that the disks are on another node, or nowhere.
    want({ fencingEpoch: 4, madeDisks: [] });
    await harness.untilReady(4);
    expect(await stat(file("scratch"))).toMatchObject({ size: 1024 ** 3, blocks: 0 });
    await leave();
    expect(existsSync(directory)).toBe(false);
  });
});
