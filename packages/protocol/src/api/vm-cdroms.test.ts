import { describe, expect, it } from "@jest/globals";
import { driverRefusal } from "./driver.ts";
import { bootOrderOf, bootOrderRefusal, drivesFit, withOwnDrive } from "./vm-cdroms.ts";
import { hasOwnData } from "./vm-disks.ts";
import { pendingRestart } from "./vm-process.ts";
import { vmSpecSchema } from "./vm-spec.ts";

const disk = { name: "debian", format: "disk" } as const;
const disc = { name: "installer", format: "iso", blobs: [{ role: "iso" }] } as const;
const kernel = { name: "linux", format: "linux", blobs: [{ role: "kernel" }, { role: "disk" }] } as const;
const cdroms = [{ name: "cd", image: "installer" }];
const system = { name: "system", sizeGiB: 8 };

describe("CD-ROM drives", () => {
  it.each([
    ["two of one name", { cdroms: [{ name: "cd" }, { name: "cd", image: "a" }] }, "the same name"],
    ["one with the name of a disk", { cdroms, disks: [{ name: "cd", sizeGiB: 1 }] }, "the name of a disk"],
    ["one with the name of the root", { cdroms: [{ name: "root" }] }, "the name of a disk"],
    ["more than there are places", { cdroms: "abcde".split("").map((name) => ({ name })) }, "Too big"],
    ["a path in the place of a name", { cdroms: [{ name: "../a" }] }, "lower-case"],
    ["an order that names one twice", { bootOrder: ["cd", "cd"] }, "twice"],
    ["no order", { bootOrder: [] }, "Too small"],
  ])("are not %s", (_, wishes, why) => {
    const parsed = vmSpecSchema.safeParse({ memoryMiB: 64, image: "x", ...wishes });
    expect(parsed.error?.message).toContain(why);
  });

  it("hold no data of the VM, and come by themselves where it is made of a disc", () => {
    expect(hasOwnData({}, disc)).toBe(false);
    expect(withOwnDrive({ disks: [system] }, disc)).toMatchObject({ cdroms: [{ name: "cdrom", image: "installer" }] });
    const named = { disks: ["cdrom", "cdrom-2"].map((name) => ({ name, sizeGiB: 1 })) };
    expect(withOwnDrive(named, disc)).toMatchObject({ cdroms: [{ name: "cdrom-3", image: "installer" }] });
    expect(drivesFit(withOwnDrive(named, disc))).toBe(true);
    expect(bootOrderOf(withOwnDrive(named, disc), disc)).toEqual(["cdrom", "cdrom-2", "cdrom-3"]);
    expect(withOwnDrive({ cdroms: [] }, disc)).toEqual({ cdroms: [] });
    expect(withOwnDrive({}, disk)).toEqual({});
  });

  it("are booted from in the order that is asked for, after the disks where a disc is installed from", () => {
    expect(bootOrderOf({ cdroms }, disk)).toEqual(["root"]);
    expect(bootOrderOf({ cdroms, disks: [system] }, disc)).toEqual(["system", "cd"]);
    expect(bootOrderOf({ cdroms, bootOrder: ["cd", "root"] }, disk)).toEqual(["cd", "root"]);
    expect(bootOrderOf({ cdroms }, kernel)).toEqual([]);
    expect(bootOrderRefusal({ cdroms, bootOrder: ["cd", "root"] }, disk)).toBeUndefined();
    expect(bootOrderRefusal({ cdroms, bootOrder: ["cd", "other"] }, disk)).toContain("spec.bootOrder.1");
    expect(bootOrderRefusal({ cdroms, bootOrder: ["cd"] }, kernel)).toContain("has a kernel");
  });

  it("need a driver that has them", () => {
    const driver = { imageFormats: ["disk" as const], vcpusMax: 1, memoryMiBMax: 64 };
    const spec = { vcpus: 1, memoryMiB: 64 };
    const refusal = (cdrom: boolean, demand: object) =>
      driverRefusal("fake", { ...driver, cdrom }, { spec, image: disk, ...demand });
    expect(refusal(false, { spec: { ...spec, cdroms } })).toBe("driver fake has no CD-ROM drives (cdrom)");
    expect(refusal(false, { image: disc })).toBe("driver fake has no CD-ROM drives (cdrom)");
    expect(refusal(true, { image: disc })).toBeUndefined();
    expect(refusal(true, { spec: { ...spec, cdroms } })).toBeUndefined();
    expect(refusal(false, {})).toBeUndefined();
  });

  it("come and go with a restart, and what lies in them does not", () => {
    const startedWith = { vcpus: 1, memoryMiB: 64, onPartition: "keep" as const, cdroms: ["cd"] };
    const lossPolicy = { onNodeLoss: "wait", onPartition: "keep", effect: "waits" } as const;
    const pending = (spec: object) =>
      pendingRestart({ spec: { vcpus: 1, memoryMiB: 64, ...spec }, startedWith, lossPolicy });
    expect(pending({ cdroms: [{ name: "cd" }] })).toEqual([]);
    expect(pending({})).toEqual([{ field: "cdroms", runs: "cd", wanted: "none" }]);
    expect(pending({ cdroms, bootOrder: ["cd"] })).toEqual([{ field: "bootOrder", runs: "none", wanted: "cd" }]);
  });
});
