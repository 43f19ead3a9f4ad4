import { describe, expect, it } from "@jest/globals";
import { formatHostPort, hostOf, isLoopbackHost } from "./host-port.ts";

describe("isLoopbackHost", () => {
  it.each(["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])("knows %s", (host) => {
    expect(isLoopbackHost(host)).toBe(true);
  });

  it.each(["", "127.0.0.1.example.org", "127.example.org", "10.0.0.1", "::", "fe80::1", "localhost.example.org"])(
    "does not trust %s",
    (host) => {
      expect(isLoopbackHost(host)).toBe(false);
    },
  );
});

describe("hostOf", () => {
  it.each(["127.0.0.1", "::1", "node.example.org"])("undoes formatHostPort for %s", (host) => {
    expect(hostOf(formatHostPort(host, 7001))).toBe(host);
  });
});
