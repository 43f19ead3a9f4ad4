import { describe, expect, it } from "@jest/globals";
import { directAddresses, firstAddresses, formatHostPort, hostOf, isLoopbackHost } from "./host-port.ts";

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

describe("addresses with a relay among them", () => {
  const relay = "https://relay.example/";
  const addresses = ["10.0.0.1:1", "10.0.0.2:1", relay, "https://other.example/"];

  it("are told apart from those that need none", () => {
    expect(directAddresses(addresses)).toEqual(["10.0.0.1:1", "10.0.0.2:1"]);
  });

  it("keep their first relay when there are too many", () => {
    expect(firstAddresses(addresses, 4)).toEqual(addresses);
    expect(firstAddresses(addresses, 3)).toEqual(["10.0.0.1:1", "10.0.0.2:1", relay]);
    expect(firstAddresses(addresses, 2)).toEqual(["10.0.0.1:1", relay]);
    expect(firstAddresses(["10.0.0.1:1", "10.0.0.2:1"], 1)).toEqual(["10.0.0.1:1"]);
  });
});
