import { createHash } from "node:crypto";
import { fromUtf8, toHex } from "@blixard/common";
import type { TokenRecord } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { emptyState } from "../state-machine/state.ts";
import { ShownTokens } from "./shown-tokens.ts";

let hashes = 0;
const sha256 = (bytes: Uint8Array) => {
  hashes++;
  return new Uint8Array(createHash("sha256").update(bytes).digest());
};

function fixture() {
  const state = emptyState();
  const clock = { nowUnixMs: 1_000, unixMs: () => clock.nowUnixMs };
  const shown = new ShownTokens({ sha256, clock } as never);
  const put = (id: string, text: string, more: Partial<TokenRecord> = {}) =>
    state.tokens.set(id, {
      ...{ id, role: "viewer", name: "", createdUnixMs: 0, revoked: false, tokenHash: toHex(sha256(fromUtf8(text))) },
      ...more,
    } as TokenRecord);
  return { state, clock, shown, put };
}

describe("ShownTokens", () => {
  it("finds a token that was shown before without hashing it, and with the rights that it has now", () => {
    const { state, shown, put } = fixture();
    put("a", "secret");
    expect(shown.holderOf(state, "secret")).toEqual({ actor: { kind: "token", id: "a" }, access: "viewer" });
    put("a", "secret", { role: "admin" });
    const before = hashes;
    expect(shown.holderOf(state, "secret")?.access).toBe("admin");
    expect(hashes).toBe(before);
  });

  it("knows no token that was revoked, has expired, is gone, or was made anew under its id", () => {
    const { state, clock, shown, put } = fixture();
    put("a", "secret", { expiresUnixMs: 2_000 });
    const isKnown = () => shown.holderOf(state, "secret") !== undefined;
    expect(isKnown()).toBe(true);
    clock.nowUnixMs = 2_000;
    expect(isKnown()).toBe(false);
    clock.nowUnixMs = 1_000;
    expect(isKnown()).toBe(true);
    put("a", "secret", { revoked: true });
    expect(isKnown()).toBe(false);
    put("a", "secret");
    expect(isKnown()).toBe(true);
    put("a", "another");
    expect(isKnown()).toBe(false);
    put("a", "secret");
    expect(isKnown()).toBe(true);
    state.tokens.delete("a");
    expect(isKnown()).toBe(false);
  });

  it("keeps a bounded number of tokens, and still knows those that it does not keep", () => {
    const { state, shown, put } = fixture();
    for (let at = 0; at <= 256; at++) put(`t${at}`, `secret ${at}`);
    for (let at = 0; at <= 256; at++) expect(shown.holderOf(state, `secret ${at}`)?.actor.id).toBe(`t${at}`);
    let before = hashes;
    expect(shown.holderOf(state, "secret 256")?.actor.id).toBe("t256");
    expect(hashes).toBe(before);
    before = hashes;
    expect(shown.holderOf(state, "secret 0")?.actor.id).toBe("t0");
    expect(hashes).toBe(before + 1);
  });
});
