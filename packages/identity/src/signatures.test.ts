import { fromHex, fromUtf8, toHex } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { createSignatures, endpointIdOfSeed } from "./index.ts";

const seed = new Uint8Array(32).fill(42);
const message = fromUtf8("a statement");

describe("createSignatures", () => {
  it("signs what anybody verifies with the endpoint id, and nothing else", () => {
    const { sign, verify } = createSignatures(seed);
    const signature = sign(message);
    const id = endpointIdOfSeed(seed);
    expect(verify(id, message, signature)).toBe(true);
    expect(verify(id, fromUtf8("another statement"), signature)).toBe(false);
    expect(verify(endpointIdOfSeed(new Uint8Array(32).fill(43)), message, signature)).toBe(false);
    expect(
      verify(
        id,
        message,
        signature.map((byte, at) => (at === 0 ? byte ^ 1 : byte)),
      ),
    ).toBe(false);
  });

  it("takes no bytes for a signature and no text for a key that are none", () => {
    const { sign, verify } = createSignatures(seed);
    expect(verify(endpointIdOfSeed(seed), message, new Uint8Array(3))).toBe(false);
    for (const id of ["", "no key", "ff".repeat(32), "00".repeat(31)]) {
      expect(verify(id, message, sign(message))).toBe(false);
    }
  });

  // RFC 8032, section 7.1, TEST 2.
  it("is Ed25519", () => {
    const { sign } = createSignatures(
      fromHex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb") ?? new Uint8Array(),
    );
    expect(toHex(sign(Uint8Array.of(0x72)))).toBe(
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
  });
});
