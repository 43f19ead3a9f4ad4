import { describe, expect, it } from "@jest/globals";
import {
  directAddresses,
  firstAddresses,
  formatHostPort,
  hostOf,
  isLoopbackHost,
  parseHostPort,
  requireHostPort,
} from "./host-port.ts";

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

describe("parseHostPort", () => {
  it.each([
    ["127.0.0.1:7001", "127.0.0.1", 7001],
    ["node.example.org:65535", "node.example.org", 65_535],
    ["[::1]:0", "::1", 0],
    ["[::ffff:10.0.0.1]:7", "::ffff:10.0.0.1", 7],
  ])("takes %s apart, and formatHostPort puts it together again", (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port });
    expect(formatHostPort(host, port)).toBe(text);
    expect(requireHostPort(text, "--bind")).toEqual({ host, port });
  });

  it.each([
    "",
    "host",
    ":7001",
    "host:",
    "host:65536",
    "host:123456",
    "host:7a",
    "::1:7001",
    "[::1]",
    "[]:1",
    "[host]:1",
    "a b:1",
    "user@host:1",
    "http://host:1",
    "host:1/",
    "host:1\n",
  ])("refuses %j", (text) => {
    expect(parseHostPort(text)).toBeUndefined();
    expect(() => requireHostPort(text, "--bind")).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: `--bind ${text} is not HOST:PORT` }),
    );
  });
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
