import { seededRandom } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
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
});
