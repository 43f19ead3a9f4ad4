import { formatIpv4, parseIpv4 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { guestMac, ipv4Frame } from "../testing/frames.ts";
import { answerDhcp, isDhcpRequest } from "./dhcp.ts";
import { readPacket } from "./packet.ts";
import { userLeaseOf } from "./user-addresses.ts";
import { userAddressesOf } from "./user-network.ts";

const lease = userLeaseOf(userAddressesOf("10.0.7.20"));
const cookie = "63825363";

/** From a client without an address, to everybody. `options` in hexadecimal: the message type and what follows. */
function request(options: string, { mac = guestMac, client = "0.0.0.0" } = {}): Buffer {
  const head = ipv4Frame({ from: "0.0.0.0", to: "255.255.255.255", protocol: "udp", sourcePort: 68, port: 67 });
  const message = Buffer.alloc(240);
  message.write("01010600deadbeef00008000", 0, "hex");
  message.writeUInt32BE(parseIpv4(client), 12);
  message.write(mac.replaceAll(":", ""), 28, "hex");
  message.write(cookie, 236, "hex");
  return Buffer.concat([head.subarray(0, 42), message, Buffer.from(options, "hex")]);
}
const hexAddress = (address: string) => parseIpv4(address).toString(16).padStart(8, "0");
const asks = (address: string, server = "10.0.7.2") => `3204${hexAddress(address)}3604${hexAddress(server)}ff`;

/** What the guest is told: the type of the message, its address and the options by their numbers. */
function told(
  frame: Buffer,
): { type: number | undefined; address: string; options: Record<number, string> } | undefined {
  const answer = answerDhcp(frame, guestMac, lease);
  if (answer === undefined) return undefined;
  expect(answer.toString("hex", 46, 50)).toBe("deadbeef");
  const options: Record<number, string> = {};
  for (let at = 42 + 240; answer[at] !== 255; at += 2 + (answer[at + 1] ?? 0)) {
    options[answer[at] ?? 0] = answer.toString("hex", at + 2, at + 2 + (answer[at + 1] ?? 0));
  }
  return { type: Number(options[53]), address: formatIpv4(answer.readUInt32BE(42 + 16)), options };
}

describe("answerDhcp", () => {
  it("offers the guest its address, with mask, router and resolver, and confirms it", () => {
    const options = { 1: "ffffff00", 3: hexAddress("10.0.7.2"), 6: hexAddress("10.0.7.3") };
    expect(told(request("350101ff"))).toMatchObject({ type: 2, address: "10.0.7.20", options });
    expect(told(request(`350103${asks("10.0.7.20")}`))).toMatchObject({ type: 5, address: "10.0.7.20", options });
    // A guest that renews names its address as its own, and asks for nothing.
    expect(told(request("350103ff", { client: "10.0.7.20" }))).toMatchObject({ type: 5, address: "10.0.7.20" });
  });

  it("refuses another address, and leaves what another server is asked to that one", () => {
    expect(told(request(`350103${asks("10.0.7.21")}`))).toMatchObject({ type: 6, address: "0.0.0.0" });
    expect(told(request(`350103${asks("10.0.7.20", "10.0.7.9")}`))).toBeUndefined();
  });

  it("says nothing to another card, nor to what is no request", () => {
    expect(told(request("350101ff", { mac: "02:00:00:00:00:0b" }))).toBeUndefined();
    expect(told(request("350107ff"))).toBeUndefined();
    expect(told(request("ff"))).toBeUndefined();
    expect(told(request("350101ff").subarray(0, 250))).toBeUndefined();
  });

  it("writes a whole IPv4 packet, whose header adds up", () => {
    const answer = answerDhcp(request("350101ff"), guestMac, lease) ?? Buffer.alloc(0);
    expect(readPacket(answer)).toMatchObject({
      source: parseIpv4("10.0.7.2"),
      ports: { source: 67, destination: 68 },
    });
    let sum = 0;
    for (let at = 14; at < 34; at += 2) sum += answer.readUInt16BE(at);
    expect((sum & 0xffff) + (sum >>> 16)).toBe(0xffff);
    expect(answer.readUInt16BE(16)).toBe(answer.length - 14);
  });

  it("throws for nothing that a guest can send", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.uint8Array({ maxLength: 60 }), (bytes, options) => {
        const made = request(Buffer.from(options).toString("hex"));
        for (const frame of [Buffer.from(bytes), made]) {
          isDhcpRequest(frame);
          answerDhcp(frame, guestMac, lease);
        }
      }),
    );
  });
});
