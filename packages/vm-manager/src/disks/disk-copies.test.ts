import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError } from "@blixard/common";
import { afterAll, beforeEach, describe, expect, it } from "@jest/globals";
import { describeWith } from "../testing/required-component.ts";
import { SmallFileSystem, smallFileSystemNeeds } from "../testing/small-file-system.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { DiskCopies, type FetchDiskPart, openDiskPart } from "./disk-copies.ts";

afterAll(removeTemporaryDirectories);

const vmId = "00000000-0000-4000-8000-000000000001";
const key = { vmId, epoch: 7 };
const wanted = { ...key, source: 2, names: ["data", "root"] };
const mebibyte = 1024 ** 2;

let source: string;
let target: string;
let fetched: (string | number)[];
beforeEach(async () => {
  [source, target] = [await temporaryDirectory(), await temporaryDirectory()];
  fetched = [];
  await writeFile(join(source, "disk-root.qcow2"), "the root");
  await writeFile(join(source, "disk-data.raw"), "the data");
});

/** Reads from the directory of the source; `fails` before a part. */
function fetchFrom(
  names: readonly string[],
  fails: (part: string | number) => void = () => {},
  volumes: ReadonlyMap<string, string> = new Map(),
): FetchDiskPart {
  return async ({ part, sizeBytesMax }, path, { onMissing, onProgress }) => {
    fetched.push(part);
    fails(part);
    const blob = await openDiskPart(source, names, part, volumes);
    if (blob === undefined || blob.sizeBytes > sizeBytesMax) throw new BlixardError("NOT_FOUND", "not here");
    await onMissing(blob.sizeBytes);
    await writeFile(path, await blob.read(0, blob.sizeBytes));
    onProgress(blob.sizeBytes);
  };
}

const options = () => ({ signal: new AbortController().signal, onProgress: () => {} });

describe("disks that come from another node", () => {
  it("are put aside, and into the directory of the VM once, in the place of older ones", async () => {
    const copies = new DiskCopies(join(target, "incoming"), fetchFrom(["root", "data"]));
    const seen: number[] = [];
    const receive = () => copies.receive(wanted, { ...options(), onProgress: ({ doneBytes }) => seen.push(doneBytes) });
    expect(await copies.install(key, target)).toBeUndefined();
    expect(await receive()).toEqual(["data", "root"]);
    expect(seen).toEqual([8, 16]);
    expect(await receive()).toEqual(["data", "root"]);
    expect(fetched).toEqual(["index", 0, 1]);
    await writeFile(join(target, "disk.raw"), "an older root");
    await writeFile(join(target, "disk-data.raw"), "older data");
    expect(await copies.install(key, target)).toEqual(["data", "root"]);
    expect(await readFile(join(target, "disk-data.raw"), "utf8")).toBe("the data");
    expect(await readFile(join(target, "disk-root.qcow2"), "utf8")).toBe("the root");
    await expect(stat(join(target, "disk.raw"))).rejects.toMatchObject({ code: "ENOENT" });
    // Interrupted before it was written down, and done again: what the VM has is not touched.
    await writeFile(join(target, "disk-data.raw"), "written since");
    expect(await copies.install(key, target)).toEqual(["data", "root"]);
    expect(await readFile(join(target, "disk-data.raw"), "utf8")).toBe("written since");
    await copies.forget(key);
    expect(await copies.install(key, target)).toBeUndefined();
  });

  it("bring the volumes of the VM, which go to a place of their own", async () => {
    const volumeId = "00000000-0000-4000-8000-00000000000a";
    const path = join(source, "volume");
    await writeFile(path, "the volume");
    const volumes = new Map([[volumeId, path]]);
    const copies = new DiskCopies(
      join(target, "incoming"),
      fetchFrom(["root", "data"], () => {}, volumes),
    );
    const snapshotFile = `${volumeId}.00000000-0000-4000-8000-00000000000b`;
    volumes.set(snapshotFile, join(source, "disk-data.raw"));
    const place = join(target, "volumes");
    await copies.installVolume(key, volumeId, place);
    expect(await copies.receive({ ...wanted, volumeFiles: [volumeId, snapshotFile] }, options())).toEqual([
      "data",
      "root",
    ]);
    expect(await copies.install(key, target)).toEqual(["data", "root"]);
    expect((await readdir(target)).sort()).toEqual(["disk-data.raw", "disk-root.qcow2", "incoming"]);
    await copies.installVolume(key, volumeId, place);
    await copies.installVolume(key, volumeId, place);
    expect(await readFile(join(place, `${volumeId}.raw`), "utf8")).toBe("the volume");
    expect(await readFile(join(place, `${snapshotFile}.raw`), "utf8")).toBe("the data");
  });

  it("are refused where a volume is missing", async () => {
    const copies = new DiskCopies(join(target, "incoming"), fetchFrom(["root", "data"]));
    const volumeFiles = ["00000000-0000-4000-8000-00000000000a"];
    await expect(copies.receive({ ...wanted, volumeFiles }, options())).rejects.toMatchObject({
      code: "CONFLICT",
      message: `the volume ${volumeFiles[0]} is not on node 2 any more`,
    });
  });

  it("are not installed before all of them have come", async () => {
    let broken = true;
    const fails = (part: string | number) => {
      if (broken && part === 1) throw new BlixardError("UNAVAILABLE", "the link is cut");
    };
    const copies = new DiskCopies(join(target, "incoming"), fetchFrom(["root", "data"], fails));
    await expect(copies.receive(wanted, options())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await copies.install(key, target)).toBeUndefined();
    await copies.keepOnly([key]);
    broken = false;
    expect(await copies.receive(wanted, options())).toEqual(["data", "root"]);
    await copies.keepOnly([{ vmId, epoch: 8 }]);
    expect(await copies.install(key, target)).toBeUndefined();
  });

  it("are refused where one is missing, or the list is none", async () => {
    const copies = new DiskCopies(join(target, "incoming"), fetchFrom(["data"]));
    await expect(copies.receive(wanted, options())).rejects.toMatchObject({
      code: "CONFLICT",
      message: "the disk root is not on node 2 any more",
    });
    const junk: FetchDiskPart = async (_, path) =>
      writeFile(path, JSON.stringify({ files: [{ name: "../../disk-a.raw", sizeBytes: 1 }] }));
    const others = new DiskCopies(join(target, "others"), junk);
    await expect(others.receive(wanted, options())).rejects.toMatchObject({ code: "CONFLICT" });
  });
});

describeWith(describe, smallFileSystemNeeds)("disks that come to a node without room", () => {
  it("are refused before their bytes come", async () => {
    await using small = SmallFileSystem.mount(80);
    await writeFile(join(source, "disk-data.raw"), new Uint8Array(20 * mebibyte));
    const copies = new DiskCopies(join(small.path, "incoming"), fetchFrom(["root", "data"]));
    await expect(copies.receive(wanted, options())).rejects.toMatchObject({ code: "NO_CAPACITY" });
    small.resize(200);
    expect(await copies.receive(wanted, options())).toEqual(["data", "root"]);
  });
});
