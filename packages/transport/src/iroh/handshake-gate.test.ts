import { describe, expect, it } from "@jest/globals";
import { transportLimits } from "../transport-limits.ts";
import { HandshakeGate } from "./handshake-gate.ts";

const { handshakesMax, handshakesBurstMax, handshakesPerSecondMax } = transportLimits;
/** How many of more than enough handshakes, one after the other, were let in. */
const admitted = (gate: HandshakeGate, nowMs: number) => {
  let count = 0;
  for (let tried = 0; tried < 2 * handshakesBurstMax; tried++) {
    if (!gate.enter(nowMs)) continue;
    gate.leave();
    count++;
  }
  return count;
};

describe("HandshakeGate", () => {
  it("lets a burst in, then so many a second, and never saves up more than a burst", () => {
    const gate = new HandshakeGate();
    expect(admitted(gate, 5_000)).toBe(handshakesBurstMax);
    expect(admitted(gate, 6_000)).toBe(handshakesPerSecondMax);
    expect(admitted(gate, 1_000_000)).toBe(handshakesBurstMax);
  });

  it("lets only a few run at once", () => {
    const gate = new HandshakeGate();
    for (let running = 0; running < handshakesMax; running++) expect(gate.enter(0)).toBe(true);
    expect(gate.enter(0)).toBe(false);
    gate.leave();
    expect(gate.enter(0)).toBe(true);
  });
});
