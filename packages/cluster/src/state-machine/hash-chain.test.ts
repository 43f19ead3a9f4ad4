import { toHex } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { sha256 } from "../testing/cluster-group.ts";
import { extendHash, initialHash } from "./hash-chain.ts";

const at = { index: 7, term: 2 };
const change = { table: "kv", key: "k", value: Uint8Array.of(1, 2) };

describe("extendHash", () => {
  it("hashes these bytes in this order", () => {
    const seen: string[] = [];
    const record = (bytes: Uint8Array) => {
      seen.push(toHex(bytes));
      return sha256(bytes);
    };
    extendHash(record, initialHash, at, [change, { ...change, value: undefined }]);
    const uint64 = (digits: string) => digits.padStart(16, "0");
    const key = `${uint64("2")}6b76${uint64("1")}6b`;
    expect(seen).toEqual([
      `${"00".repeat(32)}${uint64("7")}${uint64("2")}${key}${uint64("2")}0102${key}001fffffffffffff`,
    ]);
  });

  it("tells an empty value from a deletion, and the parts of a change from each other", () => {
    const hash = (changes: Parameters<typeof extendHash>[3]) => toHex(extendHash(sha256, initialHash, at, changes));
    const hashes = [
      hash([]),
      hash([change]),
      hash([{ ...change, value: new Uint8Array(0) }]),
      hash([{ ...change, value: undefined }]),
      hash([{ ...change, table: "k", key: "vk" }]),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
