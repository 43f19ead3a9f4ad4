import { isIPv6 } from "node:net";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { eui64AddressOf, formatIpv6, parseIpv6, parseIpv6Network } from "./ipv6.ts";

describe("formatIpv6", () => {
  it("writes every address as the URL standard does, and parseIpv6 reads it again", () => {
    const group = fc.oneof(fc.constant("0000"), fc.stringMatching(/^[0-9a-f]{4}$/));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (parts) => {
        const text = formatIpv6(parts.join(""));
        expect(`[${text}]`).toBe(new URL(`http://[${parts.join(":")}]`).hostname);
        expect(parseIpv6(text)).toBe(parts.join(""));
      }),
    );
  });
});

describe("parseIpv6", () => {
  it("takes nothing that is no address", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9a-f:]{0,20}$/), (text) => {
        expect(parseIpv6(text) !== undefined).toBe(isIPv6(text));
      }),
    );
    for (const text of ["fd00::1%eth0", "::ffff:10.1.0.2", "1:2:3:4:5:6:7:8::", ":::", "fd00:", " ::1"]) {
      expect(parseIpv6(text)).toBeUndefined();
    }
  });

  it("reads networks of 64 bits", () => {
    expect(parseIpv6Network("fd00:1::/64")).toBe("fd00000100000000");
    for (const text of ["fd00:1::1/64", "fd00:1::/63", "fd00:1::", "fd00:1::/64/64x"]) {
      expect([text, parseIpv6Network(text)]).toEqual([text, undefined]);
    }
  });
});

describe("eui64AddressOf", () => {
  it("is the address of the example in RFC 4291, appendix A", () => {
    const digits = eui64AddressOf("fe80000000000000", "34:56:78:9a:bc:de");
    expect(formatIpv6(digits)).toBe("fe80::3656:78ff:fe9a:bcde");
  });
});
