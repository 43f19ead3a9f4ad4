import { existsSync } from "node:fs";
import { link, mkdir, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { silentLogger, withTimeLimit } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { VolumeObservation } from "@blixard/protocol";
import { afterAll, describe, expect, it } from "@jest/globals";
import { DiskCopies } from "../disks/disk-copies.ts";
import { FakeDriver } from "../fake/fake-driver.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { VmHarness } from "../testing/vm-harness.ts";
import { copyVolume } from "./copy-volume.ts";
import { type DesiredVolume, VolumeKeeper } from "./volume-keeper.ts";

afterAll(removeTemporaryDirectories);

const volumeId = "11111111-2222-4333-8444-555555555555";
const gibibyte = 1024 ** 3;
const patienceMs = 30_000;
const neverAborted = new AbortController().signal;
const wish = (change: Partial<DesiredVolume> = {}): DesiredVolume => ({
  ...{ volumeId, epoch: 0, sizeGiB: 1, wasMade: false, isDeleted: false },
  ...change,
});

async function opened() {
  const root = await temporaryDirectory();
  const directory = join(root, "volumes");
  const nothing = () => Promise.reject(new Error("nothing comes"));
  const copies = new DiskCopies(join(root, "incoming"), nothing);
  const keeper = new VolumeKeeper(
    { clock: systemClock, logger: silentLogger, copies, copyRunning: async () => undefined },
    directory,
  );
  const until = (holds: (seen: VolumeObservation | undefined) => boolean) =>
    withTimeLimit(systemClock, patienceMs, undefined, (signal) =>
      keeper.observations.until((all) => holds(all.get(volumeId)), { signal }),
    );
  return { keeper, until, root, file: join(directory, `${volumeId}.raw`) };
}

async function firstOfFile(path: string, length: number): Promise<string> {
  await using file = await open(path);
  return (await file.read(Buffer.alloc(length), 0, length, 0)).buffer.toString();
}

describe("VolumeKeeper", () => {
  it("makes a volume as a copy of another one, with its holes, while no VM runs with that", async () => {
    const { keeper, until, file } = await opened();
    const sourceId = volumeId.replace("1111", "2222");
    const source = file.replace(volumeId, sourceId);
    keeper.setDesired([wish({ volumeId: sourceId })]);
    await withTimeLimit(systemClock, patienceMs, undefined, (signal) =>
      keeper.observations.until((all) => all.get(sourceId)?.state === "ready", { signal }),
    );
    await writeFile(source, "of the source", { flag: "r+" });
    const copy = wish({ sourceId, sizeGiB: 2 });
    // As the directory of a VM has it while that runs.
    await link(source, `${source}.vm`);
    await expect(copyVolume(source, file, { sizeBytes: 2 * gibibyte, signal: neverAborted })).rejects.toMatchObject({
      code: "CONFLICT",
    });
    keeper.setDesired([wish({ volumeId: sourceId, wasMade: true }), copy]);
    await keeper.observations.until((all) => all.has(sourceId));
    expect(existsSync(file)).toBe(false);
    await rm(`${source}.vm`);
    await until((seen) => seen?.state === "ready" && seen.sizeGiB === 2);
    const made = await stat(file);
    expect(made.size).toBe(2 * gibibyte);
    expect(made.blocks).toBeLessThan(64);
    expect(await firstOfFile(file, 13)).toBe("of the source");
    expect((await stat(source)).size).toBe(gibibyte);
    await keeper.close();
    expect(await readdir(dirname(file))).toHaveLength(2);
  });

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

describe("snapshots of a volume", () => {
  const snapshotId = volumeId.replace("1111", "4444");
  const snapshot = { snapshotId, sizeGiB: 1, wasMade: false, isDeleted: false };
  const made = { snapshots: [{ ...snapshot, wasMade: true }] };

  it("keep what was on it, give it back, and go with it", async () => {
    const { keeper, until, file } = await opened();
    keeper.setDesired([wish()]);
    await until((seen) => seen?.state === "ready");
    await writeFile(file, "as it was", { flag: "r+" });
    keeper.setDesired([wish({ wasMade: true, epoch: 1, snapshots: [snapshot] })]);
    expect((await until((seen) => seen?.epoch === 1)).get(volumeId)).not.toHaveProperty("problem");
    const kept = file.replace(".raw", `.${snapshotId}.raw`);
    expect(await stat(kept)).toMatchObject({ size: gibibyte });
    expect((await stat(kept)).blocks).toBeLessThan(64);
    expect([...(await keeper.filesOf([volumeId, `${volumeId}.${snapshotId}`])).values()]).toEqual([file, kept]);
    await writeFile(file, "as it is now, larger", { flag: "r+" });
    keeper.setDesired([wish({ wasMade: true, sizeGiB: 2, epoch: 1, ...made })]);
    await until((seen) => seen?.sizeGiB === 2);
    // While a VM has it, nothing of it is changed.
    await link(file, `${file}.vm`);
    const restoring = { wasMade: true, sizeGiB: 2, epoch: 2, ...made, restoring: snapshotId };
    const other = volumeId.replace("1111", "5555");
    for (const sizeGiB of [1, 2, 3]) {
      keeper.setDesired([wish(restoring), wish({ volumeId: other, sizeGiB })]);
      await withTimeLimit(systemClock, patienceMs, undefined, (signal) =>
        keeper.observations.until((all) => all.get(other)?.sizeGiB === sizeGiB, { signal }),
      );
    }
    expect(keeper.observations.value.get(volumeId)).toMatchObject({ epoch: 1 });
    expect(await firstOfFile(file, 9)).toBe("as it is ");
    await rm(`${file}.vm`);
    await until((seen) => seen?.epoch === 2);
    expect(await firstOfFile(file, 9)).toBe("as it was");
    expect((await stat(file)).size).toBe(2 * gibibyte);
    // Looked at again, what was written since stays.
    await writeFile(file, "written since", { flag: "r+" });
    keeper.setDesired([wish({ ...restoring, sizeGiB: 3 })]);
    await until((seen) => seen?.sizeGiB === 3);
    expect(await firstOfFile(file, 13)).toBe("written since");
    keeper.setDesired([wish({ wasMade: true, sizeGiB: 3, epoch: 3, snapshots: [{ ...snapshot, isDeleted: true }] })]);
    await until((seen) => seen?.epoch === 3);
    expect(existsSync(kept)).toBe(false);
    await writeFile(kept, "of which the state knows nothing");
    keeper.setDesired([wish({ wasMade: true, epoch: 4, isDeleted: true })]);
    await until((seen) => seen?.state === "deleted");
    expect(await readdir(dirname(file))).toEqual([`${other}.raw`]);
    await keeper.close();
  });

  it("say why they cannot be made or restored, and leave the volume as it is", async () => {
    const { keeper, until, file } = await opened();
    keeper.setDesired([wish()]);
    await until((seen) => seen?.state === "ready");
    await writeFile(file, "as it is", { flag: "r+" });
    keeper.setDesired([wish({ wasMade: true, epoch: 1, ...made, restoring: snapshotId })]);
    const lost = await until((seen) => seen?.epoch === 1);
    expect(lost.get(volumeId)).toMatchObject({ state: "ready", problem: expect.stringContaining("not on its node") });
    // No file can be made under the name that it has meanwhile.
    await mkdir(file.replace(".raw", `.${snapshotId}.raw.tmp`));
    keeper.setDesired([wish({ wasMade: true, epoch: 2, snapshots: [snapshot] })]);
    const failed = await until((seen) => seen?.epoch === 2);
    expect(failed.get(volumeId)).toMatchObject({ state: "ready", problem: expect.any(String) });
    expect(await firstOfFile(file, 8)).toBe("as it is");
    await keeper.close();
  });
});

describe("a volume that comes from another node", () => {
  const came = { vmId: volumeId.replace("1111", "3333"), epoch: 7 };

  async function put(root: string, epoch: number, text: string): Promise<void> {
    const directory = join(root, "incoming", `${came.vmId}-${epoch}`);
    const name = `volume-${volumeId}.raw`;
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, name), text);
    await writeFile(join(directory, "complete.json"), JSON.stringify({ files: [{ name, sizeBytes: text.length }] }));
  }

  it("is put in the place of an older one, once, and told of as of its epoch", async () => {
    const { keeper, until, root, file } = await opened();
    keeper.setDesired([wish()]);
    await until((seen) => seen?.state === "ready");
    await put(root, 6, "of another time");
    await put(root, 7, "what came");
    keeper.setDesired([wish({ wasMade: true, epoch: 2, came })]);
    await until((seen) => seen?.epoch === 2);
    expect(await firstOfFile(file, 9)).toBe("what came");
    expect((await stat(file)).size).toBe(gibibyte);
    await writeFile(file, "written since", { flag: "r+" });
    keeper.setDesired([wish({ wasMade: true, epoch: 3, came })]);
    await until((seen) => seen?.epoch === 3);
    expect(await firstOfFile(file, 13)).toBe("written since");
    await keeper.close();
  });

  it("is missing when it has not come", async () => {
    const { keeper, until, root, file } = await opened();
    await put(root, 7, "half of it");
    await rm(join(root, "incoming", `${came.vmId}-7`, "complete.json"));
    keeper.setDesired([wish({ wasMade: true, came })]);
    await until((seen) => seen?.state === "missing");
    expect(existsSync(file)).toBe(false);
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
