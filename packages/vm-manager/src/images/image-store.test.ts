import { createHash } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, fromUtf8, Watch } from "@blixard/common";
import { afterAll, describe, expect, it } from "@jest/globals";
import { qcow2File } from "../testing/hostile-images.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import type { FetchBlob } from "../vm-manager-types.ts";
import { ImageStore } from "./image-store.ts";

afterAll(removeTemporaryDirectories);

const content = Uint8Array.from({ length: 500_000 }, (_, at) => (at * 7) & 0xff);
const digest = createHash("sha256").update(content).digest("hex");
const blob = { role: "kernel", digest, sizeBytes: content.length } as const;
const forever = new AbortController().signal;

async function openStore(fetchBlob: FetchBlob) {
  const directory = await temporaryDirectory();
  return { store: await ImageStore.open(directory, { fetchBlob }), directory };
}

async function* pieces(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
}

const nobody: FetchBlob = () => Promise.reject(new BlixardError("UNAVAILABLE", "nobody has it"));

/** Fetches from the first source that is left: node 1 and node 2 lie, the others do not. */
function serving(): { readonly fetchBlob: FetchBlob; readonly sources: number[]; readonly reported: number[] } {
  const sources: number[] = [];
  const reported: number[] = [];
  return {
    sources,
    reported,
    fetchBlob: async (blob, path) => {
      const [source = 0] = blob.sources;
      sources.push(source);
      await writeFile(path, source > 2 ? content : Buffer.alloc(content.length, source));
      return { sources: [source], reportBadSources: () => reported.push(source) };
    },
  };
}

describe("ImageStore.put", () => {
  it("stores under the digest, and reads pieces back", async () => {
    const { store } = await openStore(nobody);
    const put = await store.put(pieces(content.slice(0, 10), content.slice(10)), { raw: true });
    expect(put).toEqual({ digest, sizeBytes: content.length });
    expect(await store.has(digest)).toBe(true);
    const blob = await store.find(digest);
    expect(blob?.sizeBytes).toBe(content.length);
    expect([...((await blob?.read(100, 3)) ?? [])]).toEqual([...content.slice(100, 103)]);
    await expect(blob?.read(content.length - 2, 3)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("leaves nothing of an upload that fails", async () => {
    const { store, directory } = await openStore(nobody);
    async function* broken(): AsyncIterable<Uint8Array> {
      yield content.slice(0, 10);
      throw new Error("the connection broke");
    }
    await expect(store.put(broken())).rejects.toThrow("the connection broke");
    await expect(store.put(pieces())).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await readdir(join(directory, "partial"))).toEqual([]);
    expect(await readdir(join(directory, "blobs"))).toEqual([]);
  });

  it("finds nothing that it does not hold, and refuses what is no digest", async () => {
    const { store } = await openStore(nobody);
    expect(await store.find(digest)).toBeUndefined();
    await expect(store.find("../../secret")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("ImageStore.put of what is no image", () => {
  it.each<[string, Uint8Array, string]>([
    ["text", fromUtf8("root:x:0:0:root:/root:/bin/bash\n".repeat(3_000)), "neither a kernel"],
    ["a vmdk", fromUtf8("KDMV".padEnd(100_000)), "no vmdk"],
    ["a qcow2 with a backing file", qcow2File((view) => view.setBigUint64(8, 512n)), "backing file"],
    ["a qcow2 that is cut off", qcow2File().slice(0, 200_000), "cut off"],
    ["a bomb", qcow2File((view) => view.setBigUint64(24, 1n << 60n)), "its disk would have"],
  ])("refuses %s, and keeps nothing of it", async (_, bytes, why) => {
    const { store, directory } = await openStore(nobody);
    const bytesDigest = createHash("sha256").update(bytes).digest("hex");
    for (const promise of [{}, { digest: bytesDigest, wholeBytes: bytes.length }]) {
      const refusal = { code: "INVALID_ARGUMENT", message: expect.stringContaining(why) };
      await expect(store.put(pieces(bytes), promise)).rejects.toMatchObject(refusal);
      expect(await readdir(join(directory, "partial"))).toEqual([]);
      expect(await readdir(join(directory, "blobs"))).toEqual([]);
    }
  });

  it("stops at the head of it, before more is stored", async () => {
    const { store } = await openStore(nobody);
    let given = 0;
    async function* endless(): AsyncIterable<Uint8Array> {
      for (;;) {
        given += 100_000;
        yield new Uint8Array(100_000).fill(65);
      }
    }
    await expect(store.put(endless())).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(given).toBeLessThan(300_000);
    await expect(store.put(endless(), { raw: true, wholeBytes: 450_000 })).rejects.toMatchObject({
      code: "VALUE_TOO_LARGE",
    });
    await expect(store.put(endless(), { raw: true, wholeBytes: 2 ** 62 })).rejects.toMatchObject({
      code: "NO_CAPACITY",
    });
  });
});

describe("an upload of which the digest was said", () => {
  const promise = { digest, raw: true, wholeBytes: content.length };
  async function* broken(upTo: number): AsyncIterable<Uint8Array> {
    yield content.slice(0, upTo);
    throw new Error("the connection broke");
  }

  it("goes on where it broke off, also in the next life of the node", async () => {
    const { store, directory } = await openStore(nobody);
    await expect(store.put(broken(300_000), promise)).rejects.toThrow("the connection broke");
    expect(await store.stat(digest)).toEqual({ isWhole: false, storedBytes: 300_000 });
    const next = await ImageStore.open(directory, { fetchBlob: nobody });
    expect(await next.stat(digest)).toEqual({ isWhole: false, storedBytes: 300_000 });
    await expect(next.put(pieces(content.slice(400_000)), { ...promise, offset: 400_000 })).rejects.toMatchObject({
      code: "CONFLICT",
    });
    const put = await next.put(pieces(content.slice(200_000)), { ...promise, offset: 200_000 });
    expect(put).toEqual({ digest, sizeBytes: content.length });
    expect(await next.stat(digest)).toEqual({ isWhole: true, storedBytes: content.length });
    await expect(next.put(pieces(content), promise)).rejects.toMatchObject({ code: "CONFLICT" });
  });

  it("is refused when it has another one in the end, and nothing of it is kept", async () => {
    const { store, directory } = await openStore(nobody);
    const changed = content.slice().fill(1, 250_000);
    await expect(store.put(pieces(changed), promise)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("changed while it was sent"),
    });
    expect(await readdir(join(directory, "partial"))).toEqual([]);
  });

  it("has one sender at a time", async () => {
    const { store } = await openStore(nobody);
    const gate = new Watch(false);
    async function* waiting(): AsyncIterable<Uint8Array> {
      yield content;
      await gate.until((isOpen) => isOpen);
    }
    const first = store.put(waiting(), promise);
    await expect(store.put(pieces(content), promise)).rejects.toMatchObject({ code: "CONFLICT" });
    gate.set(true);
    await first;
  });
});

describe("ImageStore.inspect", () => {
  const disk = qcow2File();
  const diskBlob = {
    role: "disk" as const,
    digest: createHash("sha256").update(disk).digest("hex"),
    sizeBytes: disk.length,
  };

  it("says what a disk is read as, and refuses what is not as the image says", async () => {
    const { store } = await openStore(nobody);
    await store.put(pieces(disk));
    expect(await store.inspect("disk", [diskBlob])).toEqual([{ ...diskBlob, format: "qcow2" }]);
    for (const [format, blob, code] of [
      ["disk", { ...diskBlob, format: "raw" as const }, "INVALID_ARGUMENT"],
      ["disk", { ...diskBlob, sizeBytes: 5 }, "INVALID_ARGUMENT"],
      ["disk", { ...diskBlob, digest: "0".repeat(64) }, "NOT_FOUND"],
      ["linux", { ...diskBlob, role: "kernel" as const }, "INVALID_ARGUMENT"],
      ["multiboot", { ...diskBlob, role: "initrd" as const }, "INVALID_ARGUMENT"],
    ] as const) {
      await expect(store.inspect(format, [blob])).rejects.toMatchObject({ code });
    }
  });
});

describe("ImageStore.collect", () => {
  const all = { minAgeMs: 0, dryRun: false, countMax: 10 };

  it("lets go what nobody names, when it is old enough, and only says so in a dry run", async () => {
    const { store } = await openStore(nobody);
    const named = (await store.put(pieces(qcow2File()))).digest;
    await store.put(pieces(content), { raw: true });
    const names = () => new Set([named]);
    const gone = [{ digest, sizeBytes: content.length }];
    expect(await store.collect(names, { ...all, minAgeMs: 3_600_000 })).toEqual([]);
    expect(await store.collect(names, { ...all, dryRun: true })).toEqual(gone);
    expect([...store.held.value].sort()).toEqual([digest, named].sort());
    expect(await store.collect(names, all)).toEqual(gone);
    expect([...store.held.value]).toEqual([named]);
    expect(await store.has(digest)).toBe(false);
  });
});

describe("ImageStore.ensure", () => {
  it("fetches once for all who wait, into the file that a broken fetch left", async () => {
    const { sources, fetchBlob } = serving();
    const paths: string[] = [];
    const { store, directory } = await openStore((wanted, path, signal) => {
      paths.push(path);
      return fetchBlob(wanted, path, signal);
    });
    await Promise.all([store.ensure(blob, [3], forever), store.ensure(blob, [3], forever)]);
    expect(sources).toEqual([3]);
    expect(paths).toEqual([join(directory, "partial", digest)]);
    expect(await store.has(digest)).toBe(true);
  });

  it("says why a blob cannot be fetched", async () => {
    const { store } = await openStore(nobody);
    await expect(store.ensure(blob, [2], forever)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("nobody has it"),
    });
  });

  it("reports sources whose bytes have another digest, and asks the others", async () => {
    const { sources, reported, fetchBlob } = serving();
    const { store } = await openStore(fetchBlob);
    await store.ensure(blob, [1, 2, 3], forever);
    expect(sources).toEqual([1, 2, 3]);
    expect(reported).toEqual([1, 2]);
    expect(await store.has(digest)).toBe(true);
  });

  it("never takes bytes with another digest", async () => {
    const { store, directory } = await openStore(serving().fetchBlob);
    await expect(store.ensure(blob, [1, 2], forever)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(await store.has(digest)).toBe(false);
    expect(await readdir(join(directory, "partial"))).toEqual([]);
  });
});
