import { execFileSync } from "node:child_process";
import { readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { VmDisk } from "@blixard/protocol";
import { afterAll, beforeEach, describe, expect, it } from "@jest/globals";
import { findProgram } from "../confinement/launcher.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { type ImageDisk, isDiskFile, missingDisks, prepareDisks, removeDisks } from "./vm-disks.ts";

afterAll(removeTemporaryDirectories);

const gibibyte = 1024 ** 3;
const qemuImg = {
  name: "qemu-img",
  present: findProgram("qemu-img") !== undefined,
  install: "apt-get install -y qemu-utils",
};

let directory: string;
let imageDisk: ImageDisk;
beforeEach(async () => {
  directory = await temporaryDirectory();
  imageDisk = { path: join(await temporaryDirectory(), "image"), format: "raw" };
  await writeFile(imageDisk.path, "what the image says".padEnd(1_000));
});

const prepare = (disks: readonly VmDisk[], of: ImageDisk | undefined = imageDisk) =>
  prepareDisks(directory, { disks, hasOwnRoot: true, imageDisk: of, volumes: new Map() });

describe("prepareDisks", () => {
  it("makes an empty disk that takes no room, once", async () => {
    const disks = [{ name: "data", sizeGiB: 2 }];
    const [data] = await prepare(disks, undefined);
    expect(data).toEqual({ name: "data", path: join(directory, "disk-data.raw"), format: "raw" });
    expect(await stat(data?.path ?? "")).toMatchObject({ size: 2 * gibibyte, blocks: 0 });
    await truncate(data?.path ?? "", gibibyte);
    await prepare(disks, undefined);
    expect(await stat(data?.path ?? "")).toMatchObject({ size: gibibyte });
  });

  it("says which disks are not there", async () => {
    await prepare([{ name: "root" }, { name: "data", sizeGiB: 1 }]);
    expect(await missingDisks(directory, ["root", "data", "other"])).toEqual(["other"]);
    await removeDisks(directory, ["root"]);
    expect(await missingDisks(directory, ["root", "data"])).toEqual(["root"]);
    expect(["disk.raw", "disk-data.raw", "disk-root.qcow2"].every(isDiskFile)).toBe(true);
    expect(["console.log", "disk-root.base", "disk-data.raw.tmp", "instance.json"].some(isDiskFile)).toBe(false);
  });

  it("copies the disk of an image where the specification says nothing about it", async () => {
    const [root] = await prepareDisks(directory, {
      disks: [{ name: "root" }],
      hasOwnRoot: false,
      imageDisk,
      volumes: new Map(),
    });
    expect(root).toEqual({ name: "root", path: join(directory, "disk.raw"), format: "raw" });
    expect(await readFile(root?.path ?? "", "utf8")).toBe(await readFile(imageDisk.path, "utf8"));
    // Whatever the guest wrote into its first sector: it was made as a raw disk.
    const qcow2 = Buffer.alloc(4_096);
    qcow2.writeUInt32BE(0x514649fb);
    qcow2.writeUInt32BE(3, 4);
    qcow2.writeBigUInt64BE(512n, 8);
    await writeFile(root?.path ?? "", qcow2);
    expect(
      await prepareDisks(directory, { disks: [{ name: "root" }], hasOwnRoot: false, imageDisk, volumes: new Map() }),
    ).toEqual([root]);
  });

  it("refuses a root that is smaller than that of its image, and one that is larger than any disk", async () => {
    await truncate(imageDisk.path, 3 * gibibyte);
    await expect(prepare([{ name: "root", sizeGiB: 2 }])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("2 GiB are less than the 3.0 GiB of the image"),
    });
    const bomb = Buffer.alloc(4_096);
    bomb.writeUInt32BE(0x514649fb);
    bomb.writeUInt32BE(3, 4);
    bomb.writeUInt32BE(16, 20);
    bomb.writeBigUInt64BE(2n ** 62n, 24);
    bomb.writeUInt32BE(104, 100);
    await writeFile(imageDisk.path, bomb);
    const refusal = { code: "INVALID_ARGUMENT", message: expect.stringContaining("its disk would have") };
    await expect(prepare([{ name: "root" }], { ...imageDisk, format: "qcow2" })).rejects.toMatchObject(refusal);
  });

  it("refuses an overlay whose process has written a data file into its header", async () => {
    const [root] = await prepare([{ name: "root", sizeGiB: 1 }]);
    const bytes = await readFile(root?.path ?? "");
    bytes.writeBigUInt64BE(4n, 72);
    await writeFile(root?.path ?? "", bytes);
    await expect(prepare([{ name: "root", sizeGiB: 1 }])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describeWith(describe, qemuImg)("an overlay", () => {
  const ask = (...args: string[]) => execFileSync("qemu-img", args, { cwd: directory, encoding: "utf8" });

  it.each([
    ["of the size of its image", undefined, 1_024],
    ["of one GiB", 1, gibibyte],
    ["of the largest size", 8_192, 8_192 * gibibyte],
  ])("%s is a whole qcow2 for QEMU, and shows its base", async (_, sizeGiB, virtualBytes) => {
    const [root] = await prepare([{ name: "root", ...(sizeGiB === undefined ? {} : { sizeGiB }) }]);
    expect(root).toMatchObject({ format: "qcow2", base: { path: join(directory, "disk-root.base"), format: "raw" } });
    expect(ask("check", "-f", "qcow2", "disk-root.qcow2")).toContain("No errors");
    expect(JSON.parse(ask("info", "-f", "qcow2", "--output=json", "disk-root.qcow2"))).toMatchObject({
      "virtual-size": virtualBytes,
      "backing-filename": "disk-root.base",
      "backing-filename-format": "raw",
    });
    expect(
      execFileSync("qemu-io", ["-f", "qcow2", "-c", "read -P 0x77 0 1", "disk-root.qcow2"], {
        cwd: directory,
        encoding: "utf8",
      }),
    ).toContain("read 1/1");
    execFileSync("qemu-io", ["-f", "qcow2", "-c", "write -P 0x11 0 512", "disk-root.qcow2"], { cwd: directory });
    expect(ask("check", "-f", "qcow2", "disk-root.qcow2")).toContain("No errors");
    expect(await readFile(imageDisk.path, "utf8")).toContain("what the image says");
  });

  it("on a qcow2 image has the size that this says", async () => {
    ask("create", "-q", "-f", "qcow2", imageDisk.path, "3G");
    const of = { ...imageDisk, format: "qcow2" as const };
    await expect(prepare([{ name: "root", sizeGiB: 2 }], of)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await prepare([{ name: "root" }], of);
    expect(JSON.parse(ask("info", "-f", "qcow2", "--output=json", "disk-root.qcow2"))).toMatchObject({
      "virtual-size": 3 * gibibyte,
      "backing-filename-format": "qcow2",
    });
  });
});
