import { describe, expect, it } from "@jest/globals";
import { decodeTicket, encodeTicket, type JoinTicket } from "./join-ticket.ts";

const ticket: JoinTicket = {
  clusterId: "c-1",
  ticketId: "t-1",
  secret: Uint8Array.from({ length: 16 }, (_, at) => at),
  shownBy: "secret",
  role: "voter",
  endpoints: [{ endpointId: "ab".repeat(32), addresses: ["127.0.0.1:7001", "[::1]:7001"] }],
  expiresUnixMs: 1_800_000_000_000,
};

describe("encodeTicket", () => {
  it("writes the text that other releases read", () => {
    expect(encodeTicket(ticket)).toMatchInlineSnapshot(
      `"blx1-AQNjLTEDdC0xEAABAgMEBQYHCAkKCwwNDg8AgKDxwrE0Aaurq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urAg4xMjcuMC4wLjE6NzAwMQpbOjoxXTo3MDAx97Y2eg"`,
    );
  });

  it("says in the version that the secret is not to be shown", () => {
    expect(encodeTicket({ ...ticket, shownBy: "signature" })).toMatchInlineSnapshot(
      `"blx1-AgNjLTEDdC0xEAABAgMEBQYHCAkKCwwNDg8AgKDxwrE0Aaurq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urAg4xMjcuMC4wLjE6NzAwMQpbOjoxXTo3MDAxBeQYUQ"`,
    );
  });

  it("refuses a secret below 128 bits", () => {
    expect(() => encodeTicket({ ...ticket, secret: new Uint8Array(15) })).toThrow("16 to 64 bytes");
  });
});

describe("decodeTicket", () => {
  it("brings a ticket back, also with white space around it", () => {
    expect(decodeTicket(` ${encodeTicket(ticket)}\n`)).toEqual(ticket);
    const signed = { ...ticket, shownBy: "signature" } as const;
    expect(decodeTicket(encodeTicket(signed))).toEqual(signed);
  });

  it("refuses every text that lost or changed one character, with TICKET_INVALID and a hint", () => {
    const text = encodeTicket(ticket);
    const refused = expect.objectContaining({ code: "TICKET_INVALID", hint: expect.any(String) });
    for (let at = 0; at < text.length; at++) {
      const other = text[at] === "A" ? "B" : "A";
      expect(() => decodeTicket(text.slice(0, at) + other + text.slice(at + 1))).toThrow(refused);
      expect(() => decodeTicket(text.slice(0, at) + text.slice(at + 1))).toThrow(refused);
    }
    for (const bad of ["", "blx1-", "127.0.0.1:7001", "blx1-!!", `blx1-${"A".repeat(20_000)}`]) {
      expect(() => decodeTicket(bad)).toThrow(refused);
    }
  });
});
