import { existsSync } from "node:fs";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { silentLogger, withTimeLimit } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { VolumeObservation } from "@blixard/protocol";
import { afterAll, describe, expect, it } from "@jest/globals";
import { FakeDriver } from "../fake/fake-driver.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { VmHarness } from "../testing/vm-harness.ts";
import { type DesiredVolume, VolumeKeeper } from "./volume-keeper.ts";

afterAll(removeTemporaryDirectories);

const volumeId = "11111111-2222-4333-8444-555555555555";
const gibibyte = 1024 ** 3;
const patienceMs = 30_000;
const wish = (change: Partial<DesiredVolume> = {}): DesiredVolume => ({
  ...{ volumeId, sizeGiB: 1, wasMade: false, isDeleted: false },
  ...change,
});

async function opened() {
  const directory = join(await temporaryDirectory(), "volumes");
  const keeper = new VolumeKeeper({ clock: systemClock, logger: silentLogger }, directory);
  const until = (holds: (seen: VolumeObservation | undefined) => boolean) =>
    withTimeLimit(systemClock, patienceMs, undefined, (signal) =>
      keeper.observations.until((all) => holds(all.get(volumeId)), { signal }),
    );
  return { keeper, until, file: join(directory, `${volumeId}.raw`) };
}

describe("VolumeKeeper", () => {
  it("makes a volume that takes no room, lets it grow, and deletes it", async () => {
    const { keeper, until, file } = await opened();
    keeper.setDesired([wish()]);
    await until((seen) => seen?.state === "ready");
    expect(await stat(file)).toMatchObject({ size: gibibyte, blocks: 0 });
    expect(await keeper.find(volumeId)).toBe(file);
    await writeFile(file, "kept", { flag: "r+" });
    keeper.setDesired([wish({ sizeGiB: 3, wasMade: true })]);
    await until((seen) => seen?.sizeGiB === 3);
    expect((await stat(file)).size).toBe(3 * gibibyte);
    // What the cluster does not name any more is somebody's data.
    keeper.setDesired([]);
    await until((seen) => seen === undefined);
    expect(existsSync(file)).toBe(true);
    keeper.setDesired([wish({ sizeGiB: 3, wasMade: true, isDeleted: true })]);
    await until((seen) => seen?.state === "deleted");
    expect(existsSync(file)).toBe(false);
    await keeper.close();
  });

  it("makes none anew that was made once", async () => {
    const { keeper, until, file } = await opened();
    keeper.setDesired([wish({ wasMade: true })]);
    await until((seen) => seen?.state === "missing");
    expect(existsSync(file)).toBe(false);
    expect(await keeper.find(volumeId)).toBeUndefined();
    await keeper.close();
  });
});

describe("a VM with a volume", () => {
  it("has it under its own name while it runs, and leaves it as it is", async () => {
    await using harness = await VmHarness.open({ drivers: [new FakeDriver()] });
    const until = (state: string) =>
      harness.manager.volumeObservations.until((all) => all.get(volumeId)?.state === state);
    harness.manager.setVolumes([wish()]);
    await until("ready");
    const file = join(harness.dataDir, "volumes", `${volumeId}.raw`);
    const link = join(harness.dataDir, "instances", harness.vmId, "volume-data.raw");
    const vm = { spec: { disks: [{ name: "data", volume: "db" }] }, volumeIds: new Map([["db", volumeId]]) };
    harness.want(vm);
    await harness.untilReady();
    expect((await stat(link)).ino).toBe((await stat(file)).ino);
    expect(harness.observation()).not.toHaveProperty("disks");
    await writeFile(link, "written by the VM");
    harness.want({ ...vm, desired: "stopped" });
    await harness.untilPhase("Stopped");
    expect(existsSync(link)).toBe(false);
    harness.want({ ...vm, desired: "deleted" });
    await harness.untilPhase("Deleted");
    expect(await readFile(file, "utf8")).toBe("written by the VM");
  });

  it("does not start without it", async () => {
    await using harness = await VmHarness.open({ drivers: [new FakeDriver()] });
    const vm = { spec: { disks: [{ name: "data", volume: "db" }] }, volumeIds: new Map([["db", volumeId]]) };
    harness.want(vm);
    const failed = await harness.untilPhase("Failed");
    expect(failed).toMatchObject({ reason: "disk-missing", message: "the volume db of the VM is not on this node" });
    await rm(join(harness.dataDir, "volumes"), { recursive: true, force: true });
  });
});
