import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { clusterDefaults } from "../options.ts";
import { LeaseBook, type LeaseTimes } from "./lease-book.ts";

const times: LeaseTimes = { leaseMs: 10, leaseGraceMs: 5, leaseDriftMs: 2 };
const wholeMs = 17;

describe("LeaseBook", () => {
  it("counts from the question of a node, and is over after lease, grace and drift", () => {
    const book = new LeaseBook(times);
    expect(book.asked(1, 7, 100, undefined)).toBe(true);
    expect(book.isOver(1, 7, 100 + wholeMs - 1)).toBe(false);
    expect(book.isOver(1, 7, 100 + wholeMs)).toBe(true);
    expect(book.asked(1, 7, 130, undefined)).toBe(true);
    expect(book.isOver(1, 7, 130)).toBe(false);
  });

  it("gives a node of which it has heard nothing the whole time from its first look on", () => {
    const book = new LeaseBook(times);
    expect(book.isOver(1, 7, 1_000)).toBe(false);
    expect(book.isOver(1, 7, 1_000 + wholeMs)).toBe(true);
  });

  it("begins anew in each term, whatever was asked and given away in the one before", () => {
    const book = new LeaseBook(times);
    book.asked(1, 7, 100, undefined);
    book.beginMove(1, 7, 200);
    expect(book.isOver(1, 7, 200)).toBe(true);
    expect(book.isOver(3, 7, 201)).toBe(false);
    expect(book.asked(3, 7, 202, undefined)).toBe(true);
  });

  it("grants nothing to a node without a watchdog, and does not prolong what it had", () => {
    const book = new LeaseBook(times);
    book.asked(1, 7, 100, undefined);
    expect(book.asked(1, 7, 110, "setpriv is not installed")).toBe(false);
    expect(book.unguarded(7)).toBe("setpriv is not installed");
    expect(book.isOver(1, 7, 100 + wholeMs)).toBe(true);
  });

  it("grants nothing while the VMs of a node are given away", () => {
    const book = new LeaseBook(times);
    book.beginMove(1, 7, 100);
    expect(book.asked(1, 7, 101, undefined)).toBe(false);
    book.moved(1, 7, 102);
    expect(book.asked(1, 7, 103, undefined)).toBe(true);
  });

  it("has ended where it is over, for any clocks that differ by a tenth and any delay of question and answer", () => {
    const { leaseMs, leaseGraceMs, leaseDriftMs } = clusterDefaults;
    const ask = fc.record({
      gapMs: fc.integer({ min: 0, max: 20_000 }),
      /** From the question to its receipt, and from there to the answer. */
      there: fc.integer({ min: 0, max: 30_000 }),
      back: fc.integer({ min: 0, max: 30_000 }),
    });
    fc.assert(
      fc.property(
        fc.array(ask, { minLength: 1, maxLength: 20 }),
        fc.double({ min: 1, max: 1.1, noNaN: true }),
        (asks, rate) => {
          const book = new LeaseBook({ leaseMs, leaseGraceMs, leaseDriftMs });
          let askedAt = 0;
          // In true time: the leader's clock is fast by `rate`, that of the node is right.
          const events: { readonly at: number; readonly run: () => void }[] = [];
          let nodeUntil = 0;
          for (const { gapMs, there, back } of asks) {
            askedAt += gapMs;
            const until = askedAt + leaseMs;
            const receivedAt = askedAt + there;
            let isGranted = false;
            const receive = () => {
              isGranted = book.asked(1, 7, receivedAt * rate, undefined);
            };
            const answered = () => {
              if (isGranted) nodeUntil = Math.max(nodeUntil, until);
            };
            events.push({ at: receivedAt, run: receive }, { at: receivedAt + back, run: answered });
          }
          for (const { at, run } of events.sort((a, b) => a.at - b.at)) {
            // The node may still have a lease just before: then its VMs must be safe from the leader.
            if (at < nodeUntil + leaseGraceMs) expect(book.isOver(1, 7, at * rate)).toBe(false);
            run();
          }
        },
      ),
    );
  });
});
