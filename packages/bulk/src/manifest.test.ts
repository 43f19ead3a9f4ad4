import { toHex } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { parsePath } from "./bulk-path.ts";
import { isChunk, makeManifest, placeOf, readManifest } from "./manifest.ts";
import { memoryObject } from "./testing/bulk-fixture.ts";

const content = new TextEncoder().encode("blixard");
/** Magic, version 1, chunks of 4 bytes, 7 bytes in all; SHA-256 of "blix" and of "ard". */
const golden = [
  "424c584d",
  "01",
  "00000004",
  "0000000000000007",
  "6392c4e19894274f8205e767de4290c9039a8e25010c5d4136ada517ea70645c",
  "e714aa34fbbefab36cc82de0e0215d55ebb64979f86cd361de0ee3451da92b23",
].join("");

describe("the manifest", () => {
  it("has the bytes of version 1", async () => {
    const manifest = await makeManifest(memoryObject(content), { chunkBytes: 4 });
    expect(toHex(manifest.bytes)).toBe(golden);
    expect(readManifest(manifest.bytes, 7)).toEqual(manifest);
    expect(manifest.contentId).toBe("b428e979201f5e20b54524299bb3033a9651adecfab6c371f62a0ef282702363");
  });

  it("knows its chunks", async () => {
    const manifest = await makeManifest(memoryObject(content), { chunkBytes: 4 });
    expect(placeOf(manifest, 1)).toEqual({ offset: 4, length: 3 });
    expect(isChunk(manifest, 1, content.subarray(4))).toBe(true);
    expect(isChunk(manifest, 0, content.subarray(4))).toBe(false);
    expect(isChunk(manifest, 1, content.subarray(3))).toBe(false);
  });

  it.each([
    ["nothing", []],
    ["another magic", [0, 0]],
    ["another version", [4, 2]],
    ["no chunk length", [8, 0]],
    ["huge chunks", [5, 0xff]],
    ["a size that no number holds", [9, 0xff]],
    ["a size that does not fit the hashes", [16, 9]],
  ])("refuses %s", async (_, change) => {
    const { bytes } = await makeManifest(memoryObject(content), { chunkBytes: 4 });
    const [at, value] = change;
    const wrong = at === undefined ? new Uint8Array() : bytes.with(at, value ?? 0);
    expect(() => readManifest(wrong, 2 ** 50)).toThrow(expect.objectContaining({ code: "FRAME_CORRUPT" }));
  });

  it("refuses one of more bytes than expected", async () => {
    const { bytes } = await makeManifest(memoryObject(content), { chunkBytes: 4 });
    expect(() => readManifest(bytes, 6)).toThrow(expect.objectContaining({ code: "VALUE_TOO_LARGE" }));
  });
});

describe("the paths of the lane", () => {
  const contentId = "ab".repeat(32);

  it("name a manifest or a chunk", () => {
    const name = { kind: "image", id: "00ff" };
    expect(parsePath("/1/image/00ff/manifest")).toEqual({ name, chunk: undefined });
    const place = { offset: 5, length: 10 };
    expect(parsePath(`/1/image/00ff/${contentId}/5-10`)).toEqual({ name, chunk: { contentId, place } });
  });

  it.each([
    "",
    "/",
    "/2/image/00ff/manifest",
    "/1/secret/00ff/manifest",
    "/1/image/../manifest",
    "/1/image/00ff/manifest/",
    `/1/image/${"0".repeat(81)}/manifest`,
    `/1/image/00ff/${contentId}/5-0`,
    `/1/image/00ff/${contentId}/-1-10`,
    `/1/image/00ff/${contentId}/5-4194305`,
    `/1/image/00ff/${contentId.slice(1)}/5-10`,
  ])("refuses %s", (path) => {
    expect(parsePath(path)).toBeUndefined();
  });
});
