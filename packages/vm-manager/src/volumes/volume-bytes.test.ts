import { link, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "@jest/globals";
import { ContentDigest, contentBlockBytes } from "../images/disk-content.ts";
import { describeWith } from "../testing/required-component.ts";
import { SmallFileSystem, smallFileSystemNeeds } from "../testing/small-file-system.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { importFileOf, readVolumePiece, VolumeImports } from "./volume-bytes.ts";

afterAll(removeTemporaryDirectories);

const mebibyte = 1024 ** 2;
const sizeBytes = 100 * mebibyte;
const neverAborted = new AbortController().signal;
let path: string;
beforeEach(async () => {
  path = join(await temporaryDirectory(), "volumes", "v.raw");
});

const block = (fill: number) => new Uint8Array(contentBlockBytes).fill(fill);
const digestOf = (...offsets: number[]) => {
  const digest = new ContentDigest();
  for (const [at, offset] of offsets.entries()) digest.add({ offset, bytes: block(at + 1) });
  return digest.hex();
};
const finish = (imports: VolumeImports, digest: string) => imports.finish(path, { digest, sizeBytes }, neverAborted);

describe("a volume that is imported", () => {
  it("goes on at the end of what has come, and becomes a volume when all of it is there", async () => {
    const far = 50 * mebibyte;
    const before = new VolumeImports();
    expect(await before.write(path, { offset: 0, data: new Uint8Array(), sizeBytes })).toBe(0);
    await before.write(path, { offset: 0, data: block(1), sizeBytes });
    expect(await before.write(path, { offset: far, data: block(2), sizeBytes })).toBe(far + contentBlockBytes);
    // A piece of which only a part has come to the disk.
    await truncate(importFileOf(path), far + 5);
    const imports = new VolumeImports();
    const storedBytes = await imports.write(path, { offset: 0, data: new Uint8Array(), sizeBytes });
    expect(storedBytes).toBe(far);
    await imports.write(path, { offset: far, data: block(2), sizeBytes });
    await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
    await finish(imports, digestOf(0, far));
    const made = await stat(path);
    expect(made.size).toBe(sizeBytes);
    expect(made.blocks * 512).toBeLessThanOrEqual(4 * contentBlockBytes);
    await expect(stat(importFileOf(path))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("is no volume when it is something else than was said, and may be sent anew", async () => {
    const imports = new VolumeImports();
    await imports.write(path, { offset: 0, data: block(1), sizeBytes });
    const wrong = { code: "INVALID_ARGUMENT", message: expect.stringContaining("another digest") };
    await expect(finish(imports, digestOf(contentBlockBytes))).rejects.toMatchObject(wrong);
    await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" });
    expect(await imports.write(path, { offset: 0, data: new Uint8Array(), sizeBytes })).toBe(0);
    await imports.write(path, { offset: contentBlockBytes, data: block(1), sizeBytes });
    await finish(imports, digestOf(contentBlockBytes));
    expect((await stat(path)).size).toBe(sizeBytes);
  });

  it("takes no piece that does not follow, and none behind its end", async () => {
    const imports = new VolumeImports();
    const write = (offset: number) => imports.write(path, { offset, data: block(1), sizeBytes });
    await write(mebibyte);
    await expect(write(0)).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(write(2 * mebibyte + 1)).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(write(sizeBytes)).rejects.toMatchObject({ code: "VALUE_TOO_LARGE" });
    expect(await write(sizeBytes - contentBlockBytes)).toBe(sizeBytes);
  });

  it("may be empty", async () => {
    await finish(new VolumeImports(), digestOf());
    expect(await stat(path)).toMatchObject({ size: sizeBytes, blocks: 0 });
  });
});

describeWith(describe, smallFileSystemNeeds)("a volume that is imported to a node without room", () => {
  it("is refused before the node has none left, and goes on later", async () => {
    await using small = SmallFileSystem.mount(70);
    path = join(small.path, "v.raw");
    const imports = new VolumeImports();
    const data = new Uint8Array(8 * mebibyte).fill(1);
    const write = () => imports.write(path, { offset: 0, data, sizeBytes });
    await expect(write()).rejects.toMatchObject({ code: "NO_CAPACITY" });
    small.resize(100);
    expect(await write()).toBe(data.length);
  });
});

describe("a volume that is read", () => {
  async function readAll(bytesMax: number): Promise<{ disk: Buffer; pieces: number; dataBytes: number }> {
    const disk = Buffer.alloc((await stat(path)).size);
    let [offset, pieces, dataBytes] = [0, 0, 0];
    for (; offset < disk.length; pieces++) {
      const piece = await readVolumePiece(path, { offset, bytesMax });
      disk.set(piece.data, piece.offset);
      dataBytes += piece.data.length;
      offset = piece.offset + piece.data.length;
    }
    return { disk, pieces, dataBytes };
  }

  it("is given without its zeros", async () => {
    path = join(await temporaryDirectory(), "v.raw");
    const bytes = Buffer.alloc(200 * mebibyte + 700);
    bytes.fill(1, 5 * mebibyte, 5 * mebibyte + 400_000);
    bytes.fill(2, 150 * mebibyte - 3, 150 * mebibyte + 3);
    bytes.fill(3, bytes.length - 10);
    await writeFile(path, bytes);
    const { disk, pieces, dataBytes } = await readAll(256 * 1024);
    expect(disk.equals(bytes)).toBe(true);
    expect(dataBytes).toBeLessThan(1_000_000);
    expect(pieces).toBeLessThan(12);
    expect((await readAll(10_000)).disk.equals(bytes)).toBe(true);
  });

  it("says when it was changed meanwhile, and is refused while a VM runs with it", async () => {
    path = join(await temporaryDirectory(), "v.raw");
    await writeFile(path, "what is on it");
    const read = () => readVolumePiece(path, { offset: 0, bytesMax: 100 });
    const before = await read();
    expect(Buffer.from(before.data)).toEqual(await readFile(path));
    expect((await read()).version).toBe(before.version);
    await utimes(path, 1, 1);
    expect((await read()).version).not.toBe(before.version);
    await link(path, `${path}.vm`);
    await expect(read()).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("runs with") });
    await rm(`${path}.vm`);
  });
});
