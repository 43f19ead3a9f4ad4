import { toUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { hashOfRequest } from "./request-hash.ts";

/** What is hashed, as text. */
function hashed(request: unknown): string {
  let text = "";
  hashOfRequest(
    (bytes) => {
      text = toUtf8(bytes);
      return new Uint8Array(32);
    },
    "kv.put",
    request,
  );
  return text.slice("kv.put ".length);
}

describe("hashOfRequest", () => {
  it("hashes fields in the order of their names, whatever they hold", () => {
    expect(hashed({ value: "v", key: "k" })).toBe('{"key":"k","value":"v"}');
    expect(hashed({ b: undefined, a: null, c: [{ z: 1, y: "\u00e9" }] })).toBe('{"a":null,"c":[{"y":"\u00e9","z":1}]}');
    expect(hashed({ data: Uint8Array.of(1, 255), at: 1 })).toBe('{"at":1,"data":"01ff"}');
    expect(hashed({ "10": "a", "9": "b", a: "c" })).toBe('{"9":"b","10":"a","a":"c"}');
  });

  it("hashes a request without nested fields as one that has them", () => {
    const plain = fc.oneof(fc.string({ unit: "binary" }), fc.double(), fc.boolean(), fc.constant(null));
    fc.assert(
      fc.property(fc.dictionary(fc.string(), plain), (request) => {
        const inside = hashed({ list: [request] });
        expect(hashed(request)).toBe(inside.slice('{"list":['.length, -2));
      }),
    );
  });
});
