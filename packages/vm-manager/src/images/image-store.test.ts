import { createHash } from "node:crypto";
import { appendFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { limits } from "@blixard/protocol";
import { afterAll, describe, expect, it } from "@jest/globals";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import type { FetchBlob } from "../vm-manager-types.ts";
import { ImageStore } from "./image-store.ts";

afterAll(removeTemporaryDirectories);

const content = Uint8Array.from({ length: limits.blobChunkBytesMax * 2 + 1000 }, (_, at) => (at * 7) & 0xff);
const digest = createHash("sha256").update(content).digest("hex");
const blob = { role: "kernel", digest, sizeBytes: content.length } as const;
const forever = new AbortController().signal;

async function openStore(fetchBlob: FetchBlob) {
  const directory = await temporaryDirectory();
  const store = new ImageStore(directory, { clock: systemClock, fetchBlob }, { fetchAttemptsMax: 3 });
  await store.open();
  return { store, directory };
}

async function* pieces(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
}

const nobody: FetchBlob = () => Promise.reject(new BlixardError("UNAVAILABLE", "nobody has it"));
const serve: FetchBlob = async (_, offset, bytesMax) => content.slice(offset, offset + bytesMax);

describe("ImageStore.put", () => {
  it("stores under the digest, and reads pieces back", async () => {
    const { store } = await openStore(nobody);
    const put = await store.put(pieces(content.slice(0, 10), content.slice(10)));
    expect(put).toEqual({ digest, sizeBytes: content.length });
    expect(await store.has(digest)).toBe(true);
    expect([...(await store.read(digest, 100, 3))]).toEqual([...content.slice(100, 103)]);
    expect((await store.read(digest, content.length, 10)).length).toBe(0);
    expect((await store.read(digest, 0, 2 ** 30)).length).toBe(limits.blobChunkBytesMax);
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

  it("refuses to read what it does not hold, and what is no digest", async () => {
    const { store } = await openStore(nobody);
    await expect(store.read(digest, 0, 1)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(store.read("../../secret", 0, 1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("ImageStore.ensure", () => {
  it("fetches in bounded pieces, once for all who wait", async () => {
    const offsets: number[] = [];
    const { store } = await openStore((wanted, offset, bytesMax, signal) => {
      offsets.push(offset);
      expect(bytesMax).toBeLessThanOrEqual(limits.blobChunkBytesMax);
      return serve(wanted, offset, bytesMax, signal);
    });
    await Promise.all([store.ensure(blob, [2], forever), store.ensure(blob, [2], forever)]);
    expect(offsets).toEqual([0, limits.blobChunkBytesMax, 2 * limits.blobChunkBytesMax]);
    expect([...(await store.read(digest, content.length - 3, 9))]).toEqual([...content.slice(-3)]);
  });

  it("goes on where an earlier fetch broke off, and tries a piece again", async () => {
    const offsets: number[] = [];
    let failures = 1;
    const { store, directory } = await openStore((wanted, offset, bytesMax, signal) => {
      offsets.push(offset);
      if (failures-- > 0) return Promise.reject(new BlixardError("UNREACHABLE", "not now"));
      return serve(wanted, offset, bytesMax, signal);
    });
    await appendFile(join(directory, "partial", digest), content.slice(0, 5000));
    await store.ensure(blob, [2], forever);
    expect(offsets.slice(0, 2)).toEqual([5000, 5000]);
    expect(await store.has(digest)).toBe(true);
  });

  it("gives up after a bounded number of attempts", async () => {
    const { store } = await openStore(nobody);
    await expect(store.ensure(blob, [2], forever)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("never takes bytes with another digest", async () => {
    const { store, directory } = await openStore(serve);
    await writeFile(join(directory, "partial", digest), Buffer.alloc(500, 1));
    await expect(store.ensure(blob, [2], forever)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(await store.has(digest)).toBe(false);
    await store.ensure(blob, [2], forever);
    expect(await store.has(digest)).toBe(true);
  });
});
