import { discardMetrics } from "@blixard/common";
import { VirtualClock } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { TransportMetrics } from "../metrics.ts";
import { transportLimits } from "../transport-limits.ts";
import type { ByteStream, Connection } from "../transport-types.ts";
import { encodeFrame } from "./frame.ts";
import { FrameLink } from "./frame-link.ts";
import { ReadPace } from "./read-pace.ts";

const { slowReadStepMs, slowReadMsMax, slowReadBytesMax, slowReadLastsMs } = transportLimits;
const options = { compress: false, frameBytesMax: transportLimits.frameBytesMax };
const frame = encodeFrame({ streamClass: "urgent", hello: false, payload: new Uint8Array(20) }, options, undefined);

/** A link with a peer that always has another frame to be read. */
function linkOf(pace: ReadPace | undefined, clock: VirtualClock, framesMax: number) {
  const reads: { readonly atMs: number; readonly bytesMax: number }[] = [];
  let frames = 0;
  const stream: ByteStream = {
    read: async (bytesMax) => {
      if (reads.length === framesMax) return undefined;
      reads.push({ atMs: clock.monotonicMs(), bytesMax });
      return frame;
    },
    ...{ write: async () => {}, finish: async () => {} },
  };
  const streams = [stream];
  const never = new Promise<never>(() => {});
  const connection: Connection = {
    ...{ lane: "blixard/rpc/1", remoteEndpointId: "peer", closed: never, close: () => {} },
    openStream: () => never,
    acceptStream: async () => streams.shift() ?? never,
    path: () => ({ kind: "direct", rttMs: 1 }),
  };
  const onFrame = () => {
    frames++;
    pace?.slow();
  };
  new FrameLink(
    connection,
    options,
    { pace: () => pace, next: () => undefined, onFrame, onEnd: () => {} },
    new TransportMetrics(discardMetrics),
  );
  return { reads, frames: () => frames };
}

describe("who is slowed for each of its frames", () => {
  it("is read in small pieces, one in a step of time, and others as fast as they send", async () => {
    const clock = new VirtualClock();
    const slowed = linkOf(new ReadPace(clock), clock, 1_000);
    const other = linkOf(undefined, clock, 1_000);
    await clock.advance(100 * slowReadStepMs);
    expect(slowed.frames()).toBe(101);
    expect(slowed.reads[0]?.bytesMax).toBeGreaterThan(slowReadBytesMax);
    expect(new Set(slowed.reads.slice(1).map(({ bytesMax }) => bytesMax))).toEqual(new Set([slowReadBytesMax]));
    expect(other.frames()).toBe(1_000);
    expect(new Set(other.reads.map(({ atMs }) => atMs))).toEqual(new Set([0]));
  });

  it("waits no longer than a bound for any number of refusals, and is read as before a while after the last", async () => {
    const clock = new VirtualClock();
    const pace = new ReadPace(clock);
    for (let count = 0; count < 10_000; count++) pace.slow();
    let rested = false;
    void pace.rest().then(() => {
      rested = true;
    });
    await clock.advance(slowReadMsMax - 1);
    expect(rested).toBe(false);
    await clock.advance(1);
    expect(rested).toBe(true);
    expect(pace.isSlow).toBe(true);
    await clock.advance(slowReadLastsMs);
    expect(pace.isSlow).toBe(false);
  });
});
