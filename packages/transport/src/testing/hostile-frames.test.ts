import { seededRandom } from "@blixard/common";
import { decodeRpcFrame, rpcFramesIn } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { FrameReader } from "../frames/frame.ts";
import { HostileFrames } from "./hostile-frames.ts";

const seed = 20_261_125;

describe(`HostileFrames (seed ${seed})`, () => {
  it("gives the same frames again for a seed, of every fate and reason, and none that surprises the readers", () => {
    const sample = () => {
      const frames = new HostileFrames(seededRandom(seed), { from: 4, to: 1 });
      const kinds = new Set<string>();
      let bytes = 0;
      for (let n = 0; n < 4_000; n++) {
        const { lane, fate, refusal, bytes: own } = frames.next();
        kinds.add(`${lane} ${refusal ?? fate}`);
        for (const byte of own) bytes = (bytes * 31 + byte) % 1_000_003;
      }
      return { kinds: [...kinds].sort(), bytes };
    };
    const first = sample();
    const all = ["bad_frame", "frame_too_large", "harmless", "partial", "unsupported_version"];
    expect(first.kinds).toEqual(["raft", "rpc"].flatMap((lane) => all.map((kind) => `blixard/${lane}/1 ${kind}`)));
    expect(sample()).toEqual(first);
  });

  it("expects nothing to be counted of a partial frame: its sender hangs up, and what it sent may go unread", () => {
    const frames = new HostileFrames(seededRandom(seed), { from: 4, to: 1 });
    const partial = Array.from({ length: 20_000 }, () => frames.next()).filter(({ fate }) => fate === "partial");
    expect(partial.length).toBeGreaterThan(100);
    expect(partial.filter(({ refusals }) => Object.keys(refusals).length > 0)).toEqual([]);
  });

  it("sends every kind of frame of a stream, and none that belongs to a call that was opened before", () => {
    const frames = new HostileFrames(seededRandom(seed), { from: 4, to: 1 });
    const opened = new Set<number>();
    const kinds = new Set<string>();
    for (let n = 0; n < 20_000; n++) {
      const { lane, fate, bytes, refusals } = frames.next();
      if (lane !== "blixard/rpc/1" || fate !== "harmless") continue;
      // What looks like a frame of a later release belongs to no call.
      if (Object.hasOwn(refusals, "unsupported_version")) continue;
      const [first, ...others] = new FrameReader({ frameBytesMax: 2 ** 22, compress: false }).push(bytes);
      const [bytesOfFrame] = rpcFramesIn(first?.payload ?? new Uint8Array());
      // An empty batch.
      if (bytesOfFrame === undefined) continue;
      const frame = decodeRpcFrame(bytesOfFrame);
      kinds.add(frame.type);
      expect(others).toEqual([]);
      const ofOwnCall = frame.type === "request" || frame.type === "open" || ("by" in frame && frame.by === "caller");
      if (!ofOwnCall) continue;
      expect(opened.has(frame.id)).toBe(false);
      opened.add(frame.id);
    }
    expect([...kinds]).toEqual(expect.arrayContaining(["open", "item", "end", "credit", "request", "cancel", "error"]));
  });
});
