import { createHash } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError } from "@blixard/common";
import { afterAll, describe, expect, it } from "@jest/globals";
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
    const put = await store.put(pieces(content.slice(0, 10), content.slice(10)));
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
