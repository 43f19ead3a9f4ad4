import { limits } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { sampleNode, sampleTicket, sampleToken } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";

const keyOf = (id: number) => sampleNode(id).endpointId;
let replica: Replica;

beforeEach(() => {
  replica = Replica.initialised();
  replica.apply({ type: "ticket.create", ticket: sampleTicket("t", { role: "operator" }) });
});

const create = (id: string, fields: Parameters<typeof sampleToken>[1] = {}, ticketId: string | null = "t") =>
  replica.apply({ type: "token.create", token: sampleToken(id, fields), ticketId });

describe("token.create", () => {
  it("uses the ticket up for the key, and answers the same key as before", () => {
    expect(create("a", { endpointId: keyOf(8) })).toEqual({ ok: true, value: { id: "a", role: "admin" } });
    expect(replica.state.tickets.get("t")?.usedBy).toBe(keyOf(8));
    expect(create("b", { endpointId: keyOf(8) })).toEqual({ ok: true, value: { id: "a", role: "admin" } });
    expect(create("b", { endpointId: keyOf(9) })).toMatchObject({ ok: false, code: "TICKET_USED" });
    expect([...replica.state.tokens.keys()]).toEqual(["admin", "a"]);
  });

  it.each([
    ["another role", { endpointId: keyOf(8), role: "viewer" }, "t", "TICKET_INVALID"],
    ["an unknown ticket", { endpointId: keyOf(8) }, "no", "TICKET_INVALID"],
    ["the key of a node", { endpointId: keyOf(1) }, "t", "CONFLICT"],
  ] as const)("refuses %s", (_, fields, ticketId, code) => {
    expect(create("a", fields, ticketId)).toMatchObject({ ok: false, code });
    expect(replica.state.tickets.get("t")?.usedBy).toBeNull();
    expect(replica.state.tokens.size).toBe(1);
  });

  it("gives one key one token, and no id twice", () => {
    create("a", { endpointId: keyOf(8) });
    expect(create("b", { endpointId: keyOf(8) }, null)).toMatchObject({ ok: false, code: "ALREADY_EXISTS" });
    expect(create("a", { tokenHash: "c".repeat(64) }, null)).toMatchObject({ ok: false, code: "ALREADY_EXISTS" });
  });

  it("keeps at most as many as the limit", () => {
    for (let count = 1; count < limits.tokensMax; count++) create(`t${count}`, {}, null);
    expect(create("more", {}, null)).toMatchObject({ ok: false, code: "CONFLICT" });
    replica.apply({ type: "token.revoke", tokenId: "t1" });
    expect(create("more", {}, null)).toMatchObject({ ok: true });
  });
});

describe("token.revoke", () => {
  it("forgets the token, and says when there is none", () => {
    create("a", { endpointId: keyOf(8) });
    expect(replica.apply({ type: "token.revoke", tokenId: "a" })).toMatchObject({ ok: true });
    expect(replica.state.tokens.has("a")).toBe(false);
    expect(replica.apply({ type: "token.revoke", tokenId: "a" })).toMatchObject({ code: "TOKEN_NOT_FOUND" });
  });
});
