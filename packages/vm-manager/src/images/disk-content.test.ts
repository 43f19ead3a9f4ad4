import { execFileSync, spawnSync } from "node:child_process";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "@jest/globals";
import { partitionedDisk, qcow2File, qcow2Places } from "../testing/hostile-images.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { FileSource } from "./byte-source.ts";
import { ContentDigest, contentBlockBytes, openContent } from "./disk-content.ts";
import type { DiskSourceFormat } from "./importable-disk.ts";

afterAll(removeTemporaryDirectories);

const directory = await temporaryDirectory();
const mebibyte = 1024 ** 2;

interface Read {
  readonly disk: Buffer;
  readonly offsets: readonly number[];
  readonly digest: string;
}

/** All of it, put together from its blocks. */
async function read(name: string, { declared, from = 0 }: { declared?: DiskSourceFormat; from?: number } = {}) {
  await using source = await FileSource.open(join(directory, name));
  const content = await openContent(source, declared);
  const blocks = Math.ceil(content.virtualBytes / contentBlockBytes);
  const disk = Buffer.alloc(blocks * contentBlockBytes);
  const digest = new ContentDigest();
  const offsets: number[] = [];
  for await (const block of content.blocks(from)) {
    expect(block.bytes).toHaveLength(contentBlockBytes);
    disk.set(block.bytes, block.offset);
    digest.add(block);
    offsets.push(block.offset);
  }
  return { disk: disk.subarray(0, content.virtualBytes), offsets, digest: digest.hex() } satisfies Read;
}

describe("what is on a raw disk", () => {
  it("is given without its zeros, from any block on", async () => {
    const raw = Buffer.from(partitionedDisk(3 * mebibyte + 512));
    raw.write("in the middle", 2 * mebibyte - 5);
    raw.fill(7, 3 * mebibyte);
    await writeFile(join(directory, "raw"), raw);
    const all = await read("raw");
    expect(all.disk.equals(raw)).toBe(true);
    expect(all.offsets).toEqual([0, 2 * mebibyte - contentBlockBytes, 2 * mebibyte, 3 * mebibyte]);
    const rest = await read("raw", { from: 2 * mebibyte });
    expect(rest.offsets).toEqual([2 * mebibyte, 3 * mebibyte]);
    expect((await read("raw", { from: 4 * mebibyte })).offsets).toEqual([]);
  });

  it("has another digest in another place", async () => {
    const digests: string[] = [];
    for (const at of [100_000, 200_000]) {
      const bytes = Buffer.alloc(mebibyte);
      bytes.fill(1, at - (at % contentBlockBytes), at - (at % contentBlockBytes) + contentBlockBytes);
      await writeFile(join(directory, "placed"), bytes);
      digests.push((await read("placed", { declared: "raw" })).digest);
    }
    expect(digests[0]).not.toBe(digests[1]);
  });

  it("is refused as an image is", async () => {
    await writeFile(join(directory, "text"), "no disk at all".repeat(100));
    await expect(read("text")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const cut = qcow2File().subarray(0, qcow2Places.l2);
    await writeFile(join(directory, "cut"), cut);
    await expect(read("cut")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

const qemuImgNeed = {
  name: "qemu-img",
  present: spawnSync("qemu-img", ["--version"]).status === 0,
  install: "apt-get install qemu-utils",
};

describeWith(describe, qemuImgNeed)("what is on disks of QEMU", () => {
  const qemuImg = (...args: string[]) => execFileSync("qemu-img", args, { cwd: directory, encoding: "utf8" });
  const disk = Buffer.from(partitionedDisk(12 * mebibyte));
  for (let at = 0; at < 12; at++) disk.write(`part ${at}`.repeat(3_000), at * 999_999 + 70_000);
  disk.fill(0xa5, disk.length - 700);

  it.each([
    ["qcow2", ["-O", "qcow2"]],
    ["qcow2 of version 2", ["-O", "qcow2", "-o", "compat=0.10"]],
    ["packed qcow2", ["-O", "qcow2", "-c"]],
    ["qcow2 of small parts", ["-O", "qcow2", "-o", "cluster_size=4096"]],
    ["packed qcow2 of large parts", ["-O", "qcow2", "-c", "-o", "cluster_size=2097152"]],
    ["vmdk", ["-O", "vmdk", "-o", "subformat=streamOptimized"]],
  ])("is the same as a raw disk and as %s", async (_, options) => {
    await writeFile(join(directory, "disk.raw"), disk);
    qemuImg("convert", "-f", "raw", ...options, "disk.raw", "converted");
    const [raw, converted] = [await read("disk.raw"), await read("converted")];
    expect(converted.disk.equals(disk)).toBe(true);
    expect([converted.digest, converted.offsets]).toEqual([raw.digest, raw.offsets]);
    const from = 3 * contentBlockBytes;
    expect((await read("converted", { from })).offsets).toEqual(raw.offsets.filter((offset) => offset >= from));
  });

  it("is nothing where a qcow2 says that there are zeros", async () => {
    await writeFile(join(directory, "disk.raw"), disk);
    qemuImg("convert", "-f", "raw", "-O", "qcow2", "disk.raw", "zeroed");
    execFileSync("qemu-io", ["-f", "qcow2", "-c", "write -z 0 4M", "zeroed"], { cwd: directory });
    const expected = Buffer.from(disk).fill(0, 0, 4 * mebibyte);
    expect((await read("zeroed")).disk.equals(expected)).toBe(true);
  });

  it("is refused where it is packed in a way that is not read", async () => {
    await writeFile(join(directory, "disk.raw"), disk);
    qemuImg("convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", "disk.raw", "zstd");
    await expect(read("zstd")).rejects.toMatchObject({ message: expect.stringContaining("zstd") });
    qemuImg("convert", "-f", "raw", "-O", "qcow2", "-o", "extended_l2=on,cluster_size=64k", "disk.raw", "extended");
    await expect(read("extended")).rejects.toMatchObject({ message: expect.stringContaining("subclusters") });
  });

  it("is found out when a packed part is damaged", async () => {
    await writeFile(join(directory, "disk.raw"), disk);
    qemuImg("convert", "-f", "raw", "-O", "qcow2", "-c", "disk.raw", "damaged");
    await using source = await FileSource.open(join(directory, "damaged"));
    await truncate(join(directory, "damaged"), source.sizeBytes - 3_000);
    await expect(read("damaged")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
