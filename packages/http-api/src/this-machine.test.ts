import { describe, expect, it } from "@jest/globals";
import { mayUse } from "./this-machine.ts";

describe("mayUse", () => {
  it.each(["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])("answers everything from %s", (address) => {
    expect(mayUse(address, "/v1/kv/k")).toBe(true);
  });

  it.each(["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "127.0.0.1.example", undefined])(
    "tells %s little",
    (address) => {
      expect(mayUse(address, "/v1/identity?x=1")).toBe(true);
      expect(mayUse(address, "/readyz")).toBe(true);
      for (const path of ["/", "/v1/status", "/metrics", "/healthz/", "/v1/identity/../kv", undefined]) {
        expect(mayUse(address, path)).toBe(false);
      }
    },
  );
});
