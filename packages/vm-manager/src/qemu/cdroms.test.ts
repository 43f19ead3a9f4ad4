import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, fromUtf8, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { VmSpec } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { bootableIsoImage, bootSectorBanner, discBanner, isoImageOf, rawDiskImage } from "../testing/boot-sector.ts";
import {
  linuxGuestDone,
  linuxGuestImage,
  linuxGuestMemoryMiB,
  linuxGuestNeeds,
  linuxGuestReady,
} from "../testing/linux-guest.ts";
import { describeWith } from "../testing/required-component.ts";
import { VmHarness } from "../testing/vm-harness.ts";
import type { FetchBlob } from "../vm-manager-types.ts";
import { QemuDriver } from "./qemu-driver.ts";

const driver = new QemuDriver({ clock: systemClock });
const open = () => VmHarness.open({ drivers: [driver], tunables: { powerdownDeadlineMs: 1 } });
/** Where the first file of a disc of ours lies. */
const read = "dd if=/dev/sr0 bs=2048 skip=25 count=1 2>/dev/null | head -n 1";

describeWith(describe, linuxGuestNeeds)("a VM with CD-ROM drives that runs with QEMU", () => {
  it("reads what lies in one, gets another disc while it runs, over a new manager too, and keeps a drive that it locks", async () => {
    await using harness = await open();
    const image = await linuxGuestImage(harness.manager);
    const disc = (name: string) =>
      isoImageOf(harness.manager, name, [{ name: "word", content: fromUtf8(`the disc ${name}\n`) }]);
    const cdromImages = new Map(
      await Promise.all(["one", "two"].map(async (name) => [name, await disc(name)] as const)),
    );
    const want = (inside: string | undefined) => {
      const cdroms: VmSpec["cdroms"] = [{ name: "cd", ...(inside === undefined ? {} : { image: inside }) }];
      harness.want({ image, cdromImages, spec: { memoryMiB: linuxGuestMemoryMiB, cdroms } });
    };
    let at = 0;
    const run = async (command: string, expected: string) => {
      await harness.type(command);
      at = await harness.untilConsole(expected, at);
      at = await harness.untilConsole(linuxGuestDone, at);
    };
    const until = (disc: string) =>
      run(`for i in $(seq 600); do ${read} | grep -q "${disc}" && break; sleep 0.1; done; ${read}`, `the disc ${disc}`);
    const files = async () =>
      (await readdir(join(harness.dataDir, "instances", harness.vmId))).filter((name) => name.startsWith("cdrom-"));
    want("one");
    at = await harness.untilConsole(linuxGuestReady, at);
    const pid = await harness.process();
    await until("one");
    await run("dd if=/dev/zero of=/dev/sr0 count=1 2>&1; echo", "Read-only");
    want("two");
    await until("two");
    const digest = cdromImages.get("two")?.blobs[0]?.digest ?? "";
    expect(await files()).toEqual([`cdrom-cd.${digest.slice(0, 16)}.iso`]);

    await harness.reopen();
    want("two");
    await run("sleep 1000 </dev/sr0 & echo", "");
    want("one");
    const locked = await harness.until("a locked drive", ({ conditions = [] }) => conditions.length > 0);
    expect(locked.conditions).toMatchObject([{ type: "Disks", status: false, reason: "NotAsWanted" }]);
    expect(locked.conditions?.[0]?.message).toBe(
      "the CD-ROM drive cd cannot be changed: the guest has locked it, and was asked to let it open",
    );
    await run(read, "the disc two");
    await run("killall sleep; echo", "");
    await until("one");
    await harness.until("no condition", ({ conditions }) => conditions === undefined);

    want(undefined);
    await run(
      `for i in $(seq 600); do ${read} | grep -q disc || break; sleep 0.1; done; echo "empty: $(${read})"`,
      "empty: \r",
    );
    expect(await files()).toEqual([]);
    expect(await harness.process()).toBe(pid);
  });

  it("gets its disks while a disc is still on its way from other nodes, and keeps one that lies in it and is nowhere else", async () => {
    const far = new Watch<Uint8Array | undefined>(undefined);
    const fetchBlob: FetchBlob = async (_, path, signal) => {
      const bytes = await far.until((value) => value !== undefined, { signal });
      if (bytes === undefined) throw new BlixardError("INVARIANT", "it was just there");
      await writeFile(path, bytes);
      return { sources: [2], reportBadSources: () => {} };
    };
    await using harness = await VmHarness.open({ drivers: [driver], fetchBlob, tunables: { powerdownDeadlineMs: 1 } });
    const image = await linuxGuestImage(harness.manager);
    const disc = await isoImageOf(harness.manager, "far", [{ name: "word", content: fromUtf8("the disc far\n") }]);
    const digest = disc.blobs[0]?.digest ?? "";
    const blobPath = join(harness.dataDir, "images", "blobs", digest);
    const bytes = await readFile(blobPath);
    await rm(blobPath);
    const volumeId = "11111111-2222-4333-8444-555555555551";
    harness.manager.setVolumes([{ volumeId, epoch: 0, sizeGiB: 1, wasMade: false, isDeleted: false }]);
    await harness.manager.volumeObservations.until((seen) => seen.size === 1);
    const want = (disksIndex: number, inside: string | undefined, ...disks: { name: string; volume: string }[]) => {
      const cdroms: VmSpec["cdroms"] = [{ name: "cd", ...(inside === undefined ? {} : { image: inside }) }];
      const spec = { memoryMiB: linuxGuestMemoryMiB, cdroms, disks };
      const cdromImages = new Map([["far", disc]]);
      harness.want({ image, cdromImages, disksIndex, volumeIds: new Map([["db", volumeId]]), spec });
    };
    want(0, undefined);
    let at = await harness.untilConsole(linuxGuestReady);
    want(1, "far");
    want(2, "far", { name: "data", volume: "db" });
    const seen = await harness.until("its disk", ({ guestDisks }) => guestDisks?.index === 2);
    expect(seen).toMatchObject({ guestDisks: { disks: [{ name: "data" }] } });
    expect(seen.conditions).toBeUndefined();
    far.set(bytes);
    await harness.type(`for i in $(seq 600); do ${read} | grep -q far && break; sleep 0.1; done; ${read}`);
    at = await harness.untilConsole("the disc far", at);
    // What lies in the drive needs nobody who has it.
    far.set(undefined);
    await rm(blobPath);
    await harness.reopen();
    want(3, "far");
    await harness.until("no disk", ({ guestDisks }) => guestDisks?.index === 3 && guestDisks.disks.length === 0);
    await harness.type(read);
    at = await harness.untilConsole("the disc far", at);
    expect(harness.observation()?.conditions).toBeUndefined();
  });

  it("boots from the disc that it is made of, and from disk or disc as it is told", async () => {
    await using harness = await open();
    const disc = await bootableIsoImage(harness.manager, "installer");
    const disk = await rawDiskImage(harness.manager);
    const cdromImages = new Map([["installer", disc]]);
    const cdroms: VmSpec["cdroms"] = [{ name: "cd", image: "installer" }];
    const disks: VmSpec["disks"] = [{ name: "system", sizeGiB: 1 }];
    harness.want({ image: disc, cdromImages, spec: { cdroms, disks } });
    let at = await harness.untilConsole(discBanner);
    for (const [bootOrder, banner] of [
      [["root", "cd"], bootSectorBanner],
      [["cd", "root"], discBanner],
    ] as const) {
      const fencingEpoch = banner === discBanner ? 3 : 2;
      harness.want({ image: disk, cdromImages, fencingEpoch, spec: { cdroms, bootOrder: [...bootOrder] } });
      at = await harness.untilConsole(banner, at);
    }
    expect(harness.observation()?.startedWith).toMatchObject({ cdroms: ["cd"], bootOrder: ["cd", "root"] });
  });
});
