import { describe, expect, it } from "@jest/globals";
import { transportLimits } from "../transport-limits.ts";
import { type Arrival, HandshakeGate } from "./handshake-gate.ts";

const { handshakesBurstMax, handshakesPerSecondMax, handshakesUnfinishedMax, handshakeSharesMax } = transportLimits;
const { handshakesPerShareBurstMax, handshakesPerSharePerSecondMax } = transportLimits;
const from = (share: string, more: Partial<Arrival> = {}): Arrival => ({
  share,
  isProved: true,
  isMemberShare: false,
  ...more,
});
const member = { isMemberShare: true };
/** How many of more than enough handshakes, one after the other, were let in. */
const admitted = (gate: HandshakeGate, nowMs: number, arrival: (tried: number) => Arrival) => {
  let count = 0;
  for (let tried = 0; tried < 2 * handshakesBurstMax; tried++) {
    if (gate.enter(nowMs, arrival(tried)) !== "enter") continue;
    gate.leave();
    count++;
  }
  return count;
};
const anywhere = (tried: number) => from(`address ${tried}`);

describe("HandshakeGate", () => {
  it("lets a burst in, then so many a second, and never saves up more than a burst", () => {
    const gate = new HandshakeGate();
    expect(admitted(gate, 5_000, anywhere)).toBe(handshakesBurstMax);
    expect(admitted(gate, 6_000, anywhere)).toBe(handshakesPerSecondMax);
    expect(admitted(gate, 1_000_000, anywhere)).toBe(handshakesBurstMax);
  });

  it("keeps an address to its share, and leaves the rest to others", () => {
    const gate = new HandshakeGate();
    expect(admitted(gate, 5_000, () => from("a"))).toBe(handshakesPerShareBurstMax);
    expect(admitted(gate, 6_000, () => from("a"))).toBe(handshakesPerSharePerSecondMax);
    expect(gate.enter(6_000, from("b"))).toBe("enter");
  });

  it("lets the addresses of members in when others have used up everything", () => {
    const gate = new HandshakeGate();
    admitted(gate, 5_000, anywhere);
    expect(gate.enter(5_000, from("b"))).toBe("refuse");
    expect(admitted(gate, 5_000, () => from("m", member))).toBe(handshakesPerShareBurstMax);
  });

  it("asks for a proof of the address when many come, and takes nothing of its share before", () => {
    const gate = new HandshakeGate();
    const isProved = false;
    expect(admitted(gate, 5_000, (tried) => from(`address ${tried}`, { isProved }))).toBe(handshakesBurstMax / 2 + 1);
    expect(gate.enter(5_000, from("m", { isProved, ...member }))).toBe("prove");
    expect(admitted(gate, 5_000, () => from("m", member))).toBe(handshakesPerShareBurstMax);
  });

  it("bounds those that do not end, but for the addresses of members", () => {
    const gate = new HandshakeGate();
    for (let begun = 0; begun < handshakesUnfinishedMax; begun++) {
      expect(gate.enter(begun * 1_000, from("a"))).toBe("enter");
    }
    const nowMs = handshakesUnfinishedMax * 1_000;
    expect(gate.enter(nowMs, from("b"))).toBe("refuse");
    expect(gate.enter(nowMs, from("m", member))).toBe("enter");
    gate.leave();
    gate.leave();
    expect(gate.enter(nowMs, from("b"))).toBe("enter");
  });

  it("remembers so many addresses, and forgets those that have their whole share again", () => {
    const gate = new HandshakeGate();
    const at = (nowMs: number, share: string) => {
      const admission = gate.enter(nowMs, from(share));
      if (admission === "enter") gate.leave();
      return admission;
    };
    // A hundred each second, which is less than all may do.
    const nowOf = (known: number) => known * 10;
    for (let known = 0; known < handshakeSharesMax; known++) expect(at(nowOf(known), `address ${known}`)).toBe("enter");
    const nowMs = nowOf(handshakeSharesMax);
    for (let more = 0; more < handshakeSharesMax; more++) at(nowMs + more * 10, `more ${more}`);
    expect(at(nowMs + nowOf(handshakeSharesMax), "b")).toBe("enter");
  });
});
