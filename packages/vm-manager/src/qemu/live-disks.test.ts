import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
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
import { VmHarness, type VmWish } from "../testing/vm-harness.ts";
import { QemuDriver } from "./qemu-driver.ts";

const driver = new QemuDriver({ clock: systemClock });
const sectorsPerGib = 2 * 1024 * 1024;
const gibibyte = 1024 ** 3;
const ids = new Map([
  ["db", "11111111-2222-4333-8444-555555555551"],
  ["logs", "11111111-2222-4333-8444-555555555552"],
]);

async function openHarness() {
  const harness = await VmHarness.open({ drivers: [driver], tunables: { powerdownDeadlineMs: 1 } });
  const volumes = (sizes: Readonly<Record<string, number>>) =>
    harness.manager.setVolumes(
      Object.entries(sizes).map(([name, sizeGiB]) => ({
        ...{ volumeId: ids.get(name) ?? "", epoch: 0, sizeGiB, wasMade: false, isDeleted: false },
      })),
    );
  volumes({ db: 1, logs: 1 });
  await harness.manager.volumeObservations.until((seen) => seen.size === 2);
  let at = 0;
  const run = async (command: string, expected: string) => {
    await harness.type(command);
    at = await harness.untilConsole(expected, at);
    at = await harness.untilConsole(linuxGuestDone, at);
  };
  const untilReady = async () => {
    at = await harness.untilConsole(linuxGuestReady, at);
  };
  const untilDisks = (index: number) =>
    harness.until(`disks as of ${index}`, ({ guestDisks }) => guestDisks?.index === index);
  return { harness, volumes, run, untilReady, untilDisks };
}

/** Waits in the guest for what takes it a moment. */
const until = (condition: string, said: string) =>
  `for i in $(seq 600); do ${condition} && break; sleep 0.1; done; echo "${said}"`;

describeWith(describe, linuxGuestNeeds)("a VM that runs with QEMU", () => {
  it("has its disks and volumes larger at once, and what was asked for while it was stopped at its start", async () => {
    const { harness, volumes, run, untilReady } = await openHarness();
    await using _ = harness;
    const image = await linuxGuestImage(harness.manager);
    const wish = (sizeGiB: number, disksIndex: number, more: VmWish = {}): VmWish => ({
      ...{ image, disksIndex, volumeIds: ids, ...more },
      spec: {
        memoryMiB: linuxGuestMemoryMiB,
        disks: [
          { name: "data", sizeGiB },
          { name: "store", volume: "db" },
        ],
      },
    });
    harness.want(wish(1, 0));
    await untilReady();
    const pid = await harness.process();
    await run("cat /sys/block/vd?/size", `${sectorsPerGib}`);
    volumes({ db: 2, logs: 1 });
    harness.want(wish(3, 7));
    const size = (serial: string) => `$(cat $(dirname $(grep -l ${serial} /sys/block/vd?/serial))/size)`;
    const both = `echo ${size("data")} ${size("store")}`;
    await run(until(`[ "$(${both})" = "${3 * sectorsPerGib} ${2 * sectorsPerGib}" ]`, `sizes $(${both})`), "sizes ");
    await run(both, `${3 * sectorsPerGib} ${2 * sectorsPerGib}`);
    const seen = await harness.until("both sizes", ({ guestDisks }) =>
      [3, 2].every((sizeGiB, disk) => guestDisks?.disks[disk]?.sizeBytes === sizeGiB * gibibyte),
    );
    expect(seen).toMatchObject({ guestDisks: { index: 7, disks: [{ name: "data" }, { name: "store" }] } });
    expect(seen.conditions).toBeUndefined();
    expect(await harness.process()).toBe(pid);

    harness.want(wish(3, 7, { desired: "stopped", madeDisks: ["data"] }));
    const stopped = await harness.untilPhase("Stopped");
    expect(stopped.guestDisks).toBeUndefined();
    harness.want(wish(4, 8, { fencingEpoch: 2, madeDisks: ["data"] }));
    await untilReady();
    await run(both, `${4 * sectorsPerGib} ${2 * sectorsPerGib}`);
  });

  it("gets volumes and lets go of them, those of its start too, and keeps them over a new manager", async () => {
    const { harness, run, untilReady, untilDisks } = await openHarness();
    await using _ = harness;
    const image = await linuxGuestImage(harness.manager);
    const wish = (disksIndex: number, ...names: string[]): VmWish => ({
      ...{ image, disksIndex, volumeIds: ids },
      spec: { memoryMiB: linuxGuestMemoryMiB, disks: names.map((name) => ({ name: `d-${name}`, volume: name })) },
    });
    const directory = join(harness.dataDir, "instances", harness.vmId);
    harness.want(wish(0, "db"));
    await untilReady();
    const pid = await harness.process();
    harness.want(wish(5, "db", "logs"));
    const both = await untilDisks(5);
    expect(both.guestDisks?.disks).toEqual(["d-db", "d-logs"].map((name) => ({ name, sizeBytes: gibibyte })));
    expect(both.conditions).toBeUndefined();
    await run(until("[ -b /dev/vdb ]", "$(cat /sys/block/vdb/serial)"), "d-logs");
    await run("echo written while it runs | dd of=/dev/vdb conv=fsync; echo", "records out");
    await harness.reopen();
    harness.want(wish(6, "logs"));
    expect((await untilDisks(6)).guestDisks?.disks).toEqual([{ name: "d-logs", sizeBytes: gibibyte }]);
    await run("ls /dev/vd?", "/dev/vdb");
    expect((await readdir(directory)).filter((name) => name.startsWith("volume-"))).toEqual(["volume-d-logs.raw"]);
    harness.want(wish(7));
    expect((await untilDisks(7)).guestDisks?.disks).toEqual([]);
    harness.want(wish(8, "logs"));
    await untilDisks(8);
    await run(until("[ -b /dev/vda ]", "$(head -c 22 /dev/vda)"), "written while it runs");
    expect(await harness.process()).toBe(pid);
  });

  it("has snapshots of its volumes made while it runs and writes, and after a new manager too", async () => {
    const { harness, run, untilReady } = await openHarness();
    await using _ = harness;
    const image = await linuxGuestImage(harness.manager);
    const disks = [{ name: "data", volume: "db" }];
    const wish: VmWish = { image, volumeIds: ids, spec: { memoryMiB: linuxGuestMemoryMiB, disks } };
    const volumeId = ids.get("db") ?? "";
    const snapshot = async (epoch: number) => {
      const snapshotId = `11111111-2222-4333-8444-66666666666${epoch}`;
      const made = { snapshotId, sizeGiB: 1, wasMade: false, isDeleted: false };
      const volume = { volumeId, epoch, sizeGiB: 1, wasMade: true, isDeleted: false, snapshots: [made] };
      harness.manager.setVolumes([volume]);
      const seen = await harness.manager.volumeObservations.until((all) => all.get(volumeId)?.epoch === epoch);
      const path = join(harness.dataDir, "volumes", `${volumeId}.${snapshotId}.raw`);
      return { seen: seen.get(volumeId), path };
    };
    const read = async (path: string, offset: number) => {
      const file = await open(path);
      const { buffer } = await file.read(Buffer.alloc(16), 0, 16, offset).finally(() => file.close());
      return buffer.toString("latin1").replaceAll("\0", "");
    };
    harness.want(wish);
    await untilReady();
    const pid = await harness.process();
    await run("echo first > /word; dd if=/word of=/dev/vda bs=1M seek=900 conv=fsync; echo", "records out");
    // It writes all the time meanwhile.
    await run("dd if=/dev/urandom of=/dev/vda bs=64k count=400000 seek=100 oflag=direct 2>/dev/null & echo", "");
    const first = await snapshot(1);
    expect(first.seen).toMatchObject({ state: "ready", shows: "running" });
    expect(first.seen).not.toHaveProperty("problem");
    expect(await read(first.path, 900 * 1024 ** 2)).toBe("first\n");
    const { size, blocks } = await stat(first.path);
    expect(size).toBe(gibibyte);
    expect(blocks * 512).toBeLessThan(gibibyte / 2);
    await run(
      "killall dd; echo second > /word; dd if=/word of=/dev/vda bs=1M seek=900 conv=fsync; echo",
      "records out",
    );
    await harness.reopen();
    harness.want(wish);
    await harness.until("its disk", ({ guestDisks }) => guestDisks?.disks.length === 1);
    const second = await snapshot(2);
    expect(second.seen).toMatchObject({ state: "ready", shows: "running" });
    expect(await read(second.path, 900 * 1024 ** 2)).toBe("second\n");
    expect(await read(first.path, 900 * 1024 ** 2)).toBe("first\n");
    const left = await readdir(join(harness.dataDir, "instances", harness.vmId));
    expect(left.filter((name) => name.startsWith("volume-"))).toEqual(["volume-data.raw"]);
    expect(await harness.process()).toBe(pid);
    await run("echo thirds | dd of=/dev/vda bs=1M seek=900 conv=fsync; echo", "records out");
    expect(await read(second.path, 900 * 1024 ** 2)).toBe("second\n");
    // The process ends while it makes one.
    const third = snapshot(3);
    harness.want({ ...wish, desired: "stopped" });
    const { seen, path } = await third;
    expect(seen).toMatchObject({ state: "ready" });
    expect(seen).not.toHaveProperty("problem");
    expect(await read(path, 900 * 1024 ** 2)).toBe("thirds\n");
    await harness.untilPhase("Stopped");
  });

  it("has one again when its guest lets go late of it, and it is wanted again", async () => {
    const { harness, run, untilReady, untilDisks } = await openHarness();
    await using _ = harness;
    const image = await linuxGuestImage(harness.manager);
    const wish = (disksIndex: number, names: readonly string[], more: VmWish = {}): VmWish => ({
      ...{ image, disksIndex, volumeIds: ids, ...more },
      spec: { memoryMiB: linuxGuestMemoryMiB, disks: names.map((name) => ({ name, volume: name })) },
    });
    harness.want(wish(0, ["db"]));
    await untilReady();
    await run("cat /sys/block/vda/diskseq > /old; echo $(echo noted)", "noted");
    // It stands still before it has let go.
    harness.want(wish(3, [], { desired: "paused" }));
    expect((await untilDisks(3)).conditions).toMatchObject([{ type: "Disks", reason: "NotAsWanted" }]);
    harness.want(wish(4, ["db"]));
    await untilDisks(4);
    const isAgain = "[ -b /dev/vda ] && [ $(cat /sys/block/vda/diskseq) != $(cat /old) ]";
    await run(until(isAgain, `$(${isAgain} && echo it is there again)`), "it is there again");
    await harness.until("nothing is wrong", ({ conditions }) => conditions === undefined);
  });

  it("does no more with a disk than it may, from its start and as of a change", async () => {
    const { harness, run, untilReady, untilDisks } = await openHarness();
    await using _ = harness;
    const image = await linuxGuestImage(harness.manager);
    const wish = (disksIndex: number, iops?: number): VmWish => ({
      ...{ image, disksIndex, volumeIds: ids },
      spec: {
        memoryMiB: linuxGuestMemoryMiB,
        disks: [{ name: "data", sizeGiB: 1, ...(iops === undefined ? {} : { iops }) }],
      },
    });
    // 80 reads, 20 in a second.
    const measure = (word: string) =>
      run(
        `a=$(date +%s); dd if=/dev/vda of=/dev/null bs=4k count=80 iflag=direct; b=$(date +%s); [ $((b-a)) -ge 3 ] && echo ${word} slow`,
        `${word} slow`,
      );
    harness.want(wish(0, 20));
    await untilReady();
    const seen = await harness.until("its disk", ({ guestDisks }) => guestDisks?.disks.length === 1);
    expect(seen.conditions).toBeUndefined();
    await measure("first");
    harness.want(wish(3));
    await untilDisks(3);
    // In a second, as many as it takes minutes for otherwise.
    await run("dd if=/dev/vda of=/dev/null bs=4k count=2000 iflag=direct && echo done fast", "done fast");
    harness.want(wish(4, 20));
    await untilDisks(4);
    await measure("again");
  });

  it("says so when its guest does not let go of a volume, and has it until then", async () => {
    const { harness, untilReady, untilDisks } = await openHarness();
    await using _ = harness;
    // It does not listen to any of the ways in which it is asked.
    const image = {
      ...(await linuxGuestImage(harness.manager)),
      commandLine: "console=ttyS0 panic=-1 acpi=off pcie_ports=compat quiet",
    };
    const wish = (disksIndex: number, ...names: string[]): VmWish => ({
      ...{ image, disksIndex, volumeIds: ids },
      spec: { memoryMiB: linuxGuestMemoryMiB, disks: names.map((name) => ({ name, volume: name })) },
    });
    harness.want(wish(0, "db"));
    await untilReady();
    harness.want(wish(3));
    const held = await untilDisks(3);
    expect(held).toMatchObject({
      guestDisks: { disks: [{ name: "db" }] },
      conditions: [{ type: "Disks", status: false, reason: "NotAsWanted" }],
    });
    expect(held.conditions?.[0]?.message).toBe("the disk db cannot be detached: the guest does not let go of it");
  });
});
