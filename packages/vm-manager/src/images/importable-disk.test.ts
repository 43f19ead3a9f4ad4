import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import { appendFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import { afterAll, describe, expect, it } from "@jest/globals";
import {
  ovaFile,
  ovfDisk,
  ovfText,
  partitionedDisk,
  qcow2File,
  qcow2Places,
  tarFile,
} from "../testing/hostile-images.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { FileSource } from "./byte-source.ts";
import { type DiskSourceFormat, openDisk } from "./importable-disk.ts";

afterAll(removeTemporaryDirectories);

const directory = await temporaryDirectory();
const { l1, l2, clusterBytes } = qcow2Places;

async function open(bytes: Uint8Array, declared?: DiskSourceFormat) {
  const path = join(directory, "image");
  await writeFile(path, bytes);
  await using source = await FileSource.open(path);
  const { from, format, sizeBytes, virtualBytes } = await openDisk(source, declared);
  return { from, format, sizeBytes, virtualBytes };
}

const refused = (why: string) => ({ code: "INVALID_ARGUMENT", message: expect.stringContaining(why) });

describe("a raw disk", () => {
  const text = fromUtf8("root:x:0:0:root:/root:/bin/bash\n".repeat(40));

  it("is taken with a sign that it is a disk, or when that is said", async () => {
    const taken = { from: "raw", format: "raw", sizeBytes: 1024 * 1024, virtualBytes: 1024 * 1024 };
    expect(await open(partitionedDisk(1024 * 1024))).toEqual(taken);
    const ext = new Uint8Array(1024 * 1024);
    ext.set([0x53, 0xef], 1_080);
    new DataView(ext.buffer).setUint32(1_024 + 4, 1_024, true);
    expect(await open(ext)).toEqual(taken);
    expect(await open(text, "raw")).toMatchObject({ format: "raw" });
  });

  it.each<[string, Uint8Array, DiskSourceFormat | undefined, string]>([
    ["text", text, undefined, "no sign of a disk"],
    ["zeros", new Uint8Array(100_000), undefined, "no sign of a disk"],
    ["nothing", new Uint8Array(), "raw", "it is empty"],
    ["a packed disk", Uint8Array.of(0x1f, 0x8b, ...text), undefined, "unpack it first"],
    ["less than its partitions", partitionedDisk(1024 * 1024, 9_000), undefined, "it is cut off"],
    ["a qcow2 that is said to be raw", qcow2File(), "raw", "its format (qcow) is not that of a raw disk"],
    ["a vmdk that is said to be raw", fromUtf8("KDMV".padEnd(600)), "raw", "its format (vmdk)"],
    ["a vmdk that names other files", fromUtf8("# Disk DescriptorFile\n".padEnd(600)), "raw", "descriptor"],
    ["a raw disk that is said to be qcow2", partitionedDisk(4_096), "qcow2", "it is no qcow2"],
  ])("is not %s", async (_, bytes, declared, why) => {
    await expect(open(bytes, declared)).rejects.toMatchObject(refused(why));
  });
});

describe("a qcow2", () => {
  it("is taken as it is, and QEMU finds no fault in it", async () => {
    expect(await open(qcow2File())).toEqual({
      ...{ from: "qcow2", format: "qcow2", sizeBytes: 6 * clusterBytes, virtualBytes: 1024 ** 3 },
    });
  });

  it.each<[string, (view: DataView) => void, string]>([
    ["a backing file", (view) => view.setBigUint64(8, 512n), "backing file"],
    ["the length of a backing file", (view) => view.setUint32(16, 11), "backing file"],
    ["a data file", (view) => view.setBigUint64(72, 4n), "data file"],
    ["the name of a data file", (view) => view.setUint32(104, 0x4441_5441), "data file"],
    ["internal snapshots", (view) => view.setUint32(60, 1), "snapshots"],
    ["encryption", (view) => view.setUint32(32, 2), "encrypted"],
    ["features of the future", (view) => view.setBigUint64(72, 1n << 40n), "features that are not known"],
    ["damage", (view) => view.setBigUint64(72, 2n), "damaged"],
    ["an unknown version", (view) => view.setUint32(4, 4), "version 4"],
    ["clusters of 2 GiB", (view) => view.setUint32(20, 31), "its clusters"],
    ["an absurd size", (view) => view.setBigUint64(24, 1n << 62n), "its disk would have"],
    ["a first table without an end", (view) => view.setUint32(36, 0xffff_ffff), "first table"],
    ["a first table that is too short", (view) => view.setUint32(36, 1), "first table"],
    ["a first table behind its end", (view) => view.setBigUint64(40, 1n << 40n), "behind its end"],
    ["a second table behind its end", (view) => view.setBigUint64(l1, 1n << 40n), "behind its end"],
    ["data behind its end", (view) => view.setBigUint64(l2, 1n << 40n), "behind its end"],
    ["data in an odd place", (view) => view.setBigUint64(l2, 512n), "impossible place"],
    [
      "one place for all of its disk",
      (view) => forAll((at) => view.setBigUint64(at, BigInt(5 * clusterBytes))),
      "same place",
    ],
    ["one compressed part for all of it", (view) => forAll((at) => view.setBigUint64(at, (1n << 62n) | 512n)), "bomb"],
    [
      "tables that are named again and again",
      (view) => view.setBigUint64(l1 + 8, BigInt(4 * clusterBytes)),
      "same place",
    ],
  ])("is not taken with %s", async (_, change, why) => {
    await expect(open(qcow2File(change))).rejects.toMatchObject(refused(why));
  });

  it.each([3, 100, 3 * clusterBytes, 6 * clusterBytes - 1])("is not taken with %i bytes of it", async (length) => {
    await expect(open(qcow2File().slice(0, length), "qcow2")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

function forAll(set: (at: number) => void): void {
  for (let at = l2; at < l2 + clusterBytes; at += 8) set(at);
}

describe("FileSource", () => {
  it("follows a link to a file, and takes nothing that is none", async () => {
    const [file, link, pipe] = ["file", "link", "pipe"].map((name) => join(directory, name));
    await writeFile(file ?? "", "content");
    symlinkSync(file ?? "", link ?? "");
    execFileSync("mkfifo", [pipe ?? ""]);
    await using source = await FileSource.open(link ?? "");
    expect(source.sizeBytes).toBe(7);
    for (const path of [directory, pipe ?? "", "/dev/zero", join(directory, "missing")]) {
      await expect(FileSource.open(path)).rejects.toMatchObject(refused(`${path} cannot be read`));
    }
  });

  it("notices that the file was written to", async () => {
    const path = join(directory, "changing");
    await writeFile(path, partitionedDisk(8_192));
    await using source = await FileSource.open(path);
    await source.assertUnchanged();
    await appendFile(path, "more");
    await expect(source.assertUnchanged()).rejects.toMatchObject(refused("was changed while it was read"));
    await truncate(path, 100);
    await expect(source.read(0, 8_192)).rejects.toMatchObject(refused("cut off"));
  });
});

const qemuImgNeed = {
  name: "qemu-img",
  present: spawnSync("qemu-img", ["--version"]).status === 0,
  install: "apt-get install qemu-utils",
};

describeWith(describe, qemuImgNeed)("disks beside those of QEMU", () => {
  const qemuImg = (...args: string[]) => execFileSync("qemu-img", args, { cwd: directory, encoding: "utf8" });
  const sizeBytes = 12 * 1024 * 1024;

  /** A disk with holes, which text and noise stand between. */
  async function makeRaw(): Promise<Buffer> {
    const raw = Buffer.from(partitionedDisk(sizeBytes));
    for (let at = 0; at < 12; at++) raw.write(`part ${at}`.repeat(3_000), at * 999_999 + 70_000);
    raw.fill(0xa5, sizeBytes - 700);
    await writeFile(join(directory, "disk.raw"), raw);
    return raw;
  }

  async function importAs(name: string, declared?: DiskSourceFormat): Promise<Buffer> {
    await using source = await FileSource.open(join(directory, name));
    const disk = await openDisk(source, declared);
    const whole: Uint8Array[] = [];
    for await (const piece of disk.pieces(0)) whole.push(piece);
    const bytes = Buffer.concat(whole);
    expect(bytes.length).toBe(disk.sizeBytes);
    // It goes on in any place.
    const rest: Uint8Array[] = [];
    for await (const piece of disk.pieces(100_001)) rest.push(piece);
    expect(Buffer.concat(rest).equals(bytes.subarray(100_001))).toBe(true);
    await writeFile(join(directory, "stored"), bytes);
    if (disk.format === "raw") return bytes;
    expect(qemuImg("check", "-f", "qcow2", "stored")).toContain("No errors");
    await using stored = await FileSource.open(join(directory, "stored"));
    expect(await openDisk(stored)).toMatchObject({ format: "qcow2", virtualBytes: disk.virtualBytes });
    qemuImg("convert", "-f", "qcow2", "-O", "raw", "stored", "back.raw");
    return readFileSync(join(directory, "back.raw"));
  }

  it.each([
    ["qcow2", ["-O", "qcow2"]],
    ["qcow2 that is compressed", ["-c", "-O", "qcow2"]],
    ["qcow2 of version 2", ["-O", "qcow2", "-o", "compat=0.10"]],
    ["qcow2 with zstd and parts of clusters", ["-c", "-O", "qcow2", "-o", "compression_type=zstd,extended_l2=on"]],
    ["qcow2 that is made whole", ["-O", "qcow2", "-o", "preallocation=falloc"]],
    ["qcow2 of small clusters", ["-O", "qcow2", "-o", "cluster_size=4096"]],
    ["vmdk", ["-O", "vmdk"]],
    ["vmdk, streamOptimized", ["-O", "vmdk", "-o", "subformat=streamOptimized"]],
  ])("takes what it made as %s, with the same content", async (_, options) => {
    const raw = await makeRaw();
    qemuImg("convert", "-f", "raw", ...options, "disk.raw", "made");
    expect((await importAs("made")).equals(raw)).toBe(true);
  });

  it("takes a vmdk whose directory is named at its end, as VMware streams it", async () => {
    const raw = await makeRaw();
    qemuImg("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "disk.raw", "made");
    const made = new Uint8Array(readFileSync(join(directory, "made")));
    const footer = made.slice(0, 512);
    new DataView(made.buffer).setBigUint64(56, 0xffff_ffff_ffff_ffffn, true);
    const whole = Buffer.concat([made, new Uint8Array((512 - (made.length % 512)) % 512), footer, new Uint8Array(512)]);
    await writeFile(join(directory, "made"), whole);
    expect((await importAs("made", "vmdk")).equals(raw)).toBe(true);
    await expect(open(made)).rejects.toMatchObject(refused("its end is cut off"));
  });

  it("takes the disk of an OVA, and checks its digests first", async () => {
    const raw = await makeRaw();
    qemuImg("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "disk.raw", "made");
    const disk = new Uint8Array(readFileSync(join(directory, "made")));
    await writeFile(join(directory, "vm.ova"), ovaFile({ disk }));
    expect((await importAs("vm.ova")).equals(raw)).toBe(true);
    const wrong = `SHA256(vm-disk1.vmdk)= ${"0".repeat(64)}\n`;
    await expect(open(ovaFile({ disk, digests: wrong }))).rejects.toMatchObject(refused("another digest"));
    const [file, outside] = [
      '<File ovf:href="vm-disk1.vmdk" ovf:id="file1"/>',
      '<File ovf:href="/etc/passwd" ovf:id="file1"/>',
    ];
    for (const [description, why] of [
      [ovfText(outside), "is not in it"],
      [ovfText(file, ovfDisk + ovfDisk), "2 disks"],
      [ovfText(file, ovfDisk.replace("<Disk", '<Disk ovf:parentRef="x"')), "has a parent"],
      [ovfText('<File ovf:href="vm-disk1.vmdk" ovf:id="file1" ovf:compression="gzip"/>'), "packed once more"],
      [`<!DOCTYPE x [<!ENTITY a "b">]>${ovfText()}`, "defines entities"],
    ] as const) {
      await expect(open(ovaFile({ disk, description }))).rejects.toMatchObject(refused(why));
    }
    const whole = ovaFile({ disk });
    await expect(open(whole.slice(0, whole.length - 60_000))).rejects.toMatchObject(refused("cut off"));
    const description = fromUtf8(ovfText());
    await expect(open(tarFile({ "../vm.ovf": description }))).rejects.toMatchObject(refused("leads out of it"));
    await expect(open(tarFile({ "vm.ovf": description }, "2"))).rejects.toMatchObject(refused("no file"));
  });

  it("refuses a vmdk that is cut off, names others, or unpacks to more than it may", async () => {
    await makeRaw();
    qemuImg("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "disk.raw", "made");
    const whole = new Uint8Array(readFileSync(join(directory, "made")));
    for (const length of [10, 512, 2_000, Math.floor(whole.length / 2)]) {
      await expect(open(whole.slice(0, length), "vmdk")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    const changed = (change: (view: DataView, text: string) => void) => {
      const bytes = whole.slice();
      change(new DataView(bytes.buffer), Buffer.from(bytes).toString("latin1"));
      return bytes;
    };
    const put = (bytes: DataView, at: number, text: string) => new Uint8Array(bytes.buffer).set(fromUtf8(text), at);
    await expect(
      open(changed((view, text) => put(view, text.indexOf("parentCID=ffffffff"), "parentCID=deadbeef"))),
    ).rejects.toMatchObject(refused("parent"));
    await expect(open(changed((view, text) => put(view, text.indexOf('SPARSE "'), 'FLAT   "')))).rejects.toMatchObject(
      refused("other files"),
    );
    await expect(open(changed((view) => view.setBigUint64(12, 1n << 60n, true)))).rejects.toMatchObject(
      refused("its disk would have"),
    );
    await expect(open(changed((view) => view.setBigUint64(20, 3n, true)))).rejects.toMatchObject(refused("grains"));
    qemuImg("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", "disk.raw", "flat.vmdk");
    await expect(open(readFileSync(join(directory, "flat.vmdk")))).rejects.toMatchObject(refused("vmdk descriptor"));
  });
});
