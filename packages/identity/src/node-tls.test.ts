import type { Clock } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { NodeTls } from "./index.ts";
import { TestCa } from "./testing/index.ts";

const dayMs = 24 * 3_600_000;

describe("NodeTls with an operator's CA", () => {
  it.each([
    ["a key of another certificate", (ca: TestCa) => ({ ...ca.issue("a"), key: ca.issue("b").key })],
    ["an expired certificate", (ca: TestCa) => ca.issue("a", -1_000)],
    ["a certificate of another CA", (ca: TestCa) => ({ ...ca.issue("a"), ca: new TestCa(systemClock).ca })],
    ["no certificate at all", (ca: TestCa) => ({ ...ca.issue("a"), cert: "nothing" })],
  ])("says at the start that %s does not do", (_, files) => {
    const loadOperator = () => files(new TestCa(systemClock));
    const make = () => new NodeTls({ clock: systemClock, secretKey: systemRandom.bytes(32), loadOperator });
    expect(make).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});

describe("NodeTls with the keys of the nodes", () => {
  it("makes a new certificate when a third of its time has passed", () => {
    let nowMs = 0;
    const clock: Clock = { ...systemClock, elapsedMs: () => nowMs };
    const tls = new NodeTls({ clock, secretKey: systemRandom.bytes(32) });
    const [first] = tls.certificates();
    nowMs = 9 * dayMs;
    expect(tls.certificates()).toEqual([first]);
    nowMs = 11 * dayMs;
    expect(tls.certificates()[0]?.serial).not.toBe(first?.serial);
  });
});
