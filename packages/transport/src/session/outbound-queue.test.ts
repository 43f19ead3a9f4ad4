import type { PeerMessage } from "@blixard/raft";
import { describe, expect, it } from "@jest/globals";
import { append, heartbeat } from "../testing/transport-fixture.ts";
import { transportLimits } from "../transport-limits.ts";
import { OutboundQueue } from "./outbound-queue.ts";

const response: PeerMessage = {
  type: "snapshotAck",
  index: 1,
  term: 1,
  receivedBytes: 0,
  refused: false,
} as PeerMessage;
const chunk = {
  ...append(1, 2, 1, new Uint8Array()),
  type: "snapshotChunk",
  sizeBytes: 9,
  offset: 0,
  data: new Uint8Array(9),
};

describe("OutboundQueue", () => {
  it("gives each message the stream of its class, and responses before appends", () => {
    const queue = new OutboundQueue();
    const one = append(1, 2, 1, new Uint8Array(10));
    expect(queue.push(one)).toBe("normal");
    expect(queue.push(chunk as PeerMessage)).toBe("bulk");
    expect(queue.push(heartbeat(1, 2))).toBe("urgent");
    expect(queue.push(response)).toBe("normal");
    expect(queue.take("urgent")).toEqual([heartbeat(1, 2)]);
    expect(queue.take("normal")).toEqual([response, one]);
    expect(queue.take("bulk")).toEqual([chunk]);
    expect(queue.length).toBe(0);
  });

  it("gathers up to its limit and always at least one message", () => {
    const queue = new OutboundQueue();
    const large = append(1, 2, 1, new Uint8Array(2 * transportLimits.gatherBytesMax));
    for (const message of [large, large, append(1, 2, 2, new Uint8Array(1)), append(1, 2, 3, new Uint8Array(1))]) {
      queue.push(message);
    }
    expect([1, 2, 3, 4].map(() => queue.take("normal").length)).toEqual([1, 1, 2, 0]);
  });

  it("refuses what is above its bytes or its count, but urgent messages are not kept out by bytes", () => {
    const queue = new OutboundQueue();
    const half = append(1, 2, 1, new Uint8Array(transportLimits.queueBytesMax / 2));
    expect([queue.push(half), queue.push(half), queue.push(half)]).toEqual(["normal", undefined, undefined]);
    for (let count = 0; count < transportLimits.queueMessagesMax; count++) queue.push(heartbeat(1, 2));
    expect(queue.push(heartbeat(1, 2))).toBe(undefined);
    expect(queue.clear()).toBe(transportLimits.queueMessagesMax + 1);
    expect(queue.push(half)).toBe("normal");
  });
});
