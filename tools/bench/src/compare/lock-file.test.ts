import { describe, expect, it } from "@jest/globals";
import { locksAgree } from "./lock-file.ts";

const ours = {
  packages: {
    "": { version: "0.1.0" },
    "node_modules/zod": { version: "4.6.7" },
    "node_modules/ws": { version: "8.23.0" },
    "node_modules/@blixard/raft": { link: true },
    "packages/raft": { version: "0.1.0" },
  },
};

describe("locksAgree", () => {
  it("lets us have more libraries, and packages of ours differ", () => {
    const { "node_modules/ws": _, ...fewer } = ours.packages;
    expect(locksAgree({ packages: { ...fewer, "packages/old": { version: "9.9.9" } } }, ours)).toBe(true);
    expect(locksAgree({ packages: { ...fewer, "node_modules/@blixard/old": { link: true } } }, ours)).toBe(true);
  });

  it("refuses another version, a library that is missing, and one at another place", () => {
    const zod = { "node_modules/zod": { version: "4.6.8" } };
    expect(locksAgree({ packages: { ...ours.packages, ...zod } }, ours)).toBe(false);
    expect(locksAgree({ packages: { "node_modules/level": { version: "10.0.0" } } }, ours)).toBe(false);
    expect(locksAgree({ packages: { "packages/raft/node_modules/zod": { version: "4.6.7" } } }, ours)).toBe(false);
  });
});
