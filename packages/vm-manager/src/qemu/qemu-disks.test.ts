import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import {
  linuxGuestDone,
  linuxGuestImage,
  linuxGuestMemoryMiB,
  linuxGuestNeeds,
  linuxGuestReady,
} from "../testing/linux-guest.ts";
import { describeWith } from "../testing/required-component.ts";
import { SmallFileSystem, smallFileSystemNeeds } from "../testing/small-file-system.ts";
import { VmHarness } from "../testing/vm-harness.ts";
import { QemuDriver } from "./qemu-driver.ts";

const driver = new QemuDriver({ clock: systemClock });
const sectorsPerGib = 2 * 1024 * 1024;
const onDisk = "written into the image";
/** A raw disk has whole sectors. */
const diskBytes = fromUtf8(onDisk.padEnd(1024 * 1024));

describeWith(describe, linuxGuestNeeds)("QemuDriver with disks of a chosen size", () => {
  it("gives them to a Linux guest beside its kernel, and keeps what it writes over starts", async () => {
    await using harness = await VmHarness.open({ drivers: [driver], tunables: { powerdownDeadlineMs: 1 } });
    const image = await linuxGuestImage(harness.manager, diskBytes);
    const disks = [
      { name: "data", sizeGiB: 2 },
      { name: "root", sizeGiB: 1 },
    ];
    const wish = { image, spec: { memoryMiB: linuxGuestMemoryMiB, disks } };
    let at = 0;
    const run = async (command: string, expected: string) => {
      await harness.type(command);
      at = await harness.untilConsole(expected, at);
      at = await harness.untilConsole(`${linuxGuestDone}0`, at);
    };
    harness.want(wish);
    at = await harness.untilConsole(linuxGuestReady);
    await run(
      "cd /sys/block; echo $(cat vda/serial vda/size vdb/serial vdb/size)",
      `root${sectorsPerGib} data${2 * sectorsPerGib}`,
    );
    await run("head -c 22 /dev/vda; echo", onDisk);
    await run("echo kept at the end | dd of=/dev/vda bs=512 seek=2097151 conv=fsync; echo", "records out");
    await run("echo kept there too | dd of=/dev/vdb conv=fsync; echo", "records out");
    expect(harness.observation()?.disks).toEqual(["root", "data"]);

    harness.want({ ...wish, fencingEpoch: 2, madeDisks: ["root", "data"] });
    at = await harness.untilConsole(linuxGuestReady, at);
    await run("tail -c 512 /dev/vda | head -c 16; echo", "kept at the end");
    await run("head -c 15 /dev/vdb; echo", "kept there too");
    await run("head -c 22 /dev/vda; echo", onDisk);

    // Nobody who looks at an empty disk would know what was lost.
    const file = join(harness.dataDir, "instances", harness.vmId, "disk-data.raw");
    harness.want({ ...wish, fencingEpoch: 2, desired: "stopped", madeDisks: ["root", "data"] });
    await harness.untilPhase("Stopped");
    await rm(file);
    harness.want({ ...wish, fencingEpoch: 3, madeDisks: ["root", "data"] });
    expect(await harness.untilPhase("Failed")).toMatchObject({
      reason: "disk-missing",
      message: expect.stringContaining("data"),
    });
  });
});

const present = linuxGuestNeeds.present && smallFileSystemNeeds.present;
const fullNeeds = { ...(linuxGuestNeeds.present ? smallFileSystemNeeds : linuxGuestNeeds), present };

describeWith(describe, fullNeeds)("QemuDriver on a file system that is full", () => {
  it("pauses a guest that finds no room, and lets it go on when there is some: no write is lost", async () => {
    await using small = SmallFileSystem.mount(96);
    await using harness = await VmHarness.open({
      drivers: [driver],
      parent: small.path,
      tunables: { powerdownDeadlineMs: 1 },
    });
    const image = await linuxGuestImage(harness.manager);
    harness.want({ image, spec: { memoryMiB: linuxGuestMemoryMiB, disks: [{ name: "data", sizeGiB: 1 }] } });
    await harness.untilConsole(linuxGuestReady);
    const pid = await harness.process();
    // Twice what there is room for.
    await harness.type(
      "tr '\\\\0' b < /dev/zero | dd of=/dev/vda bs=1M count=160 iflag=fullblock conv=fsync; echo written",
    );
    const stalled = await harness.until("io-error", ({ guest }) => guest === "io-error");
    expect(stalled).toMatchObject({
      ...{ phase: "Paused", reason: "io-error" },
      message: "the disk data cannot be written: No space left on device",
      conditions: [{ type: "Disks", status: false, reason: "NoSpace" }],
    });
    // Whoever takes over finds it so too.
    await harness.reopen();
    harness.want({ image, spec: { memoryMiB: linuxGuestMemoryMiB, disks: [{ name: "data", sizeGiB: 1 }] } });
    await harness.until("io-error", ({ guest }) => guest === "io-error");
    small.resize(400);
    await harness.until(
      "running again",
      ({ phase, guest, conditions = [] }) => phase === "Running" && guest === "ready" && conditions.length === 0,
    );
    const at = await harness.untilConsole("written");
    expect(at).toBeGreaterThan(0);
    await harness.type(
      "dd if=/dev/vda bs=1M count=160 iflag=fullblock | md5sum; tr '\\\\0' b < /dev/zero | dd bs=1M count=160 iflag=fullblock | md5sum",
    );
    const sums = await harness.untilConsole(linuxGuestDone, await harness.untilConsole(linuxGuestDone, at));
    expect(sums).toBeGreaterThan(at);
    const { data } = await harness.manager.readConsole(harness.vmId, { offset: at, bytesMax: 65_536, waitMs: 0 });
    const [first, second] =
      Buffer.from(data)
        .toString("latin1")
        .match(/[0-9a-f]{32}/g) ?? [];
    expect(first).toMatch(/^[0-9a-f]{32}$/);
    expect(second).toBe(first);
    expect(await harness.process()).toBe(pid);
  });
});
