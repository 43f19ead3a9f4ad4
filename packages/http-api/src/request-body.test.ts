import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import { readBytes } from "./request-body.ts";

/** A body that does not say how long it is. */
function bodyOf(...pieces: readonly string[]) {
  const stream = new PassThrough();
  for (const piece of pieces) stream.write(piece);
  return { stream, incoming: Object.assign(stream, { headers: {} }) as unknown as IncomingMessage };
}

describe("readBytes", () => {
  it("gives all pieces, and nothing of a body that was read already", async () => {
    const { stream, incoming } = bodyOf("ab", "c");
    const read = readBytes(incoming, 3);
    stream.end("");
    expect((await read).toString()).toBe("abc");
    expect(await readBytes(incoming, 3)).toHaveLength(0);
  });

  it("reads no further than it may", async () => {
    const { stream, incoming } = bodyOf("ab", "cd");
    await expect(readBytes(incoming, 3)).rejects.toMatchObject({ code: "VALUE_TOO_LARGE" });
    expect(stream.destroyed).toBe(true);
  });

  it("ends with a connection that ends in the middle, or has ended", async () => {
    const { stream, incoming } = bodyOf("ab");
    const read = readBytes(incoming, 3);
    stream.destroy();
    await expect(read).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(readBytes(incoming, 3)).rejects.toMatchObject({ code: "CANCELLED" });
  });
});
