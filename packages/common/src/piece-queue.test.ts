import { describe, expect, it } from "@jest/globals";
import { PieceQueue } from "./piece-queue.ts";

describe("PieceQueue", () => {
  it("cuts what comes into pieces, waits for more, and ends when all was given", async () => {
    const queue = new PieceQueue(2);
    const given = Uint8Array.of(1, 2, 3);
    queue.push(given);
    given.fill(9);
    expect(queue.length).toBe(2);
    let waits = 0;
    const read: number[][] = [];
    for await (const piece of queue.pieces(() => {
      if (++waits === 1) queue.push(Uint8Array.of(4));
      else queue.end();
    })) {
      read.push([...piece]);
    }
    expect(read).toEqual([[1, 2], [3], [4]]);
    expect(waits).toBe(2);
  });
});
