import { createHash } from "node:crypto";
import { describe, expect, it } from "@jest/globals";
import { nanoGuestElf } from "./nano-guest.ts";

describe("nanoGuestElf", () => {
  it("gives the same bytes on every node: the digest stands in replicated records", () => {
    expect(createHash("sha256").update(nanoGuestElf()).digest("hex")).toBe(
      "cac1565dfc9b9b02ccaa50573369b5fccf3fe867b77ad9e2e432b276c90f8e5d",
    );
  });

  it("is a 32-bit ELF file with a multiboot header", () => {
    const file = nanoGuestElf();
    const view = new DataView(file.buffer);
    expect(view.getUint32(0)).toBe(0x7f454c46);
    expect(view.getUint32(52 + 16, true)).toBe(file.length);
    const header = 52 + 32;
    const sum = [0, 4, 8].reduce((total, at) => total + view.getUint32(header + at, true), 0);
    expect(view.getUint32(header, true)).toBe(0x1bad_b002);
    expect(sum % 2 ** 32).toBe(0);
    expect(file.length).toBeLessThan(2048);
  });
});
