import { formatIpv4, formatIpv6, parseIpv4 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { question } from "../../testing/frames.ts";
import { answerNames, answerOwnNames } from "./names.ts";
import { NetworkTable } from "./network-table.ts";

const range = { base: parseIpv4("10.1.0.0"), mask: 0xffff_ff00 };
const host = { mac: "02:00:00:00:00:01", node: 1, epoch: 1 };
const table = new NetworkTable({
  ...{ networkId: "", name: "lan", range, server: range.base + 1 },
  hosts: [
    { ...host, name: "web-1", address: parseIpv4("10.1.0.7") },
    { ...host, name: "six", mac: "02:00:00:00:00:02", address: parseIpv4("10.1.0.9"), address6: "fd".padEnd(32, "0") },
  ],
});

/** The code of the answer, and the address or name that it gives. */
function told(name: string, type = 1): readonly [number, string | undefined] | undefined {
  const asked = question(name, type);
  const answer = answerNames(asked, table);
  if (answer === undefined) return undefined;
  expect(answer.readUInt16BE(0)).toBe(asked.readUInt16BE(0));
  expect(answer.subarray(12, asked.length)).toEqual(asked.subarray(12));
  if (answer.readUInt16BE(6) === 0) return [(answer[3] ?? 0) & 0x0f, undefined];
  const data = answer.subarray(asked.length + 12);
  const value =
    type === 12
      ? data.toString("latin1")
      : data.length === 16
        ? formatIpv6(data.toString("hex"))
        : formatIpv4(data.readUInt32BE(0));
  return [(answer[3] ?? 0) & 0x0f, value];
}

describe("answerNames", () => {
  it("knows the VMs of the network, by their names alone and with its domain", () => {
    expect(told("web-1")).toEqual([0, "10.1.0.7"]);
    expect(told("web-1.lan.internal")).toEqual([0, "10.1.0.7"]);
    expect(told("WEB-1.Lan.Internal")).toEqual([0, "10.1.0.7"]);
    expect(told("7.0.1.10.in-addr.arpa", 12)).toEqual([0, "\u0005web-1\u0003lan\u0008internal\0"]);
  });

  it("knows the addresses of IPv6 of those that have one", () => {
    expect(told("six.lan.internal", 28)).toEqual([0, "fd00::"]);
    expect(told("six", 1)).toEqual([0, "10.1.0.9"]);
    expect(told("nobody", 28)).toEqual([3, undefined]);
  });

  it("says that a name has no address of another kind, and that others are not there", () => {
    expect(told("web-1.lan.internal", 28)).toEqual([0, undefined]);
    expect(told("lan.internal")).toEqual([0, undefined]);
    expect(told("web-2.lan.internal")).toEqual([3, undefined]);
    expect(told("a.web-1.lan.internal")).toEqual([3, undefined]);
    expect(told("8.0.1.10.in-addr.arpa", 12)).toEqual([3, undefined]);
  });

  it("refuses what is outside, so that another resolver is asked", () => {
    for (const name of ["example.com", "web-1.dmz.internal", "internal.com"])
      expect(told(name)).toEqual([5, undefined]);
    expect(told("7.0.2.10.in-addr.arpa", 12)).toEqual([5, undefined]);
    expect(answerOwnNames(question("example.com"), [table])).toBeUndefined();
    expect(answerOwnNames(question("web-2"), [table])).toBeUndefined();
    expect(answerOwnNames(question("web-1"), [table])).toBeDefined();
  });

  it("takes anything", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, honest) => {
        const message = Buffer.from(bytes);
        if (honest && message.length >= 12) question("web-1").copy(message, 0, 0, 12);
        const answer = answerNames(message, table);
        return answer === undefined || answer.length <= message.length + 100;
      }),
      { numRuns: 2_000 },
    );
  });
});
