import { describe, expect, it } from "@jest/globals";
import { judgeNat } from "./check-network.ts";

const own = ["10.0.0.5", "fe80::1"];
const bound = ["10.0.0.5:7001"];

describe("judgeNat", () => {
  it("sees none when the relay saw a public address of the machine", () => {
    const here = ["203.0.113.7", "fe80::1"];
    expect(judgeNat(here, ["203.0.113.7:7001"], ["203.0.113.7:7001"])).toMatchObject({ result: "ok", next: null });
    expect(judgeNat(["2001:db8::7"], ["[2001:db8::7]:7001"], ["[2001:db8::7]:7001"]).detail).toMatch(/^none/);
  });

  it("says that it does not know when only private addresses are known", () => {
    const verdict = judgeNat(own, bound, ["10.0.0.5:7001", "[fe80::1]:7001"]);
    expect(verdict).toMatchObject({ result: "unknown", next: expect.stringContaining("UDP") });
  });

  it("tells one that keeps the port from one that changes it, and from one that gives each peer another", () => {
    expect(judgeNat(own, bound, ["10.0.0.5:7001", "203.0.113.9:7001"]).detail).toContain("keeps the port");
    expect(judgeNat(own, bound, ["203.0.113.9:40123"]).detail).toContain("changes the port");
    expect(judgeNat(own, bound, ["203.0.113.9:40123", "203.0.113.9:40124"])).toMatchObject({
      result: "warn",
      detail: expect.stringContaining("symmetric"),
      next: expect.stringContaining("--advertise"),
    });
  });

  it("takes an address that only begins like one of the machine's for another", () => {
    expect(judgeNat(own, bound, ["10.0.0.50:7001"]).detail).toMatch(/^behind one: the world sees 10\.0\.0\.50:7001/);
  });
});
