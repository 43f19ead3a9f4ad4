import { concatBytes, type Timer, toHex } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { sha256 } from "../testing/cluster-group.ts";
import { BlobUploads, blobUploadLimits } from "./blob-uploads.ts";

const { uploadsMax } = blobUploadLimits;
let timers: { run: () => void; cancelled: boolean }[];
let failures: unknown[];
let uploads: BlobUploads;

let offsets: number[];

/** Keeps what it gets, and says its digest. */
async function store(chunks: AsyncIterable<Uint8Array>, { offset }: { readonly offset: number }) {
  offsets.push(offset);
  const pieces: Uint8Array[] = [];
  try {
    for await (const chunk of chunks) {
      if (chunk[0] === 0xff) throw new Error("the disk is full");
      pieces.push(chunk);
    }
  } catch (error) {
    failures.push(error);
    throw error;
  }
  const whole = concatBytes(pieces);
  return { digest: toHex(sha256(whole)), sizeBytes: whole.length };
}

beforeEach(() => {
  timers = [];
  failures = [];
  offsets = [];
  const setTimer = (_: number, run: () => void): Timer => {
    const timer = { run, cancelled: false };
    timers.push(timer);
    return {
      cancel: () => {
        timer.cancelled = true;
      },
    };
  };
  uploads = new BlobUploads({ ...systemClock, setTimer }, store);
});

const write = (
  offset: number,
  bytes: readonly number[],
  fields: { last?: boolean; id?: string; owner?: string } = {},
) =>
  uploads.write(fields.owner ?? "a", {
    uploadId: fields.id ?? "1",
    offset,
    data: Uint8Array.from(bytes),
    last: fields.last ?? false,
  });

describe("BlobUploads", () => {
  it("puts the pieces of each owner together, in order", async () => {
    expect(await write(0, [1, 2])).toEqual({ digest: null, sizeBytes: 2 });
    await write(0, [7], { owner: "b" });
    await expect(write(1, [9])).rejects.toMatchObject({ code: "CONFLICT" });
    expect(await write(2, [3], { last: true })).toMatchObject({
      sizeBytes: 3,
      digest: toHex(sha256(Uint8Array.of(1, 2, 3))),
    });
    expect(await write(1, [], { owner: "b", last: true })).toMatchObject({ digest: toHex(sha256(Uint8Array.of(7))) });
    expect(timers.every(({ cancelled }) => cancelled)).toBe(true);
    await expect(write(3, [4])).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("goes on where the store ends, when the digest of the whole was said", async () => {
    const piece = { uploadId: "1", offset: 5, data: Uint8Array.of(1), last: true };
    await expect(uploads.write("a", piece)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await uploads.write("a", { ...piece, digest: "ab".repeat(32) })).toMatchObject({ sizeBytes: 1 });
    expect(offsets).toEqual([5]);
  });

  it("says what the store says, and forgets the upload", async () => {
    await write(0, [1]);
    const failed = write(1, [0xff]).then(() => write(2, [1], { last: true }));
    await expect(failed).rejects.toThrow("the disk is full");
    await expect(write(2, [1])).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("gives up what stands still, and takes no more than the limit", async () => {
    for (let id = 0; id < uploadsMax; id++) await write(0, [1], { id: `${id}` });
    await expect(write(0, [1], { id: "more" })).rejects.toMatchObject({ code: "OVERLOADED" });
    timers[0]?.run();
    await expect(write(1, [1], { id: "0" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await write(0, [1], { id: "more" });
    expect(failures).toHaveLength(1);
  });
});
