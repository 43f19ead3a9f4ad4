import { describe, expect, it } from "@jest/globals";
import { parseRules, rulesText } from "./security-rule-options.ts";
import { parseNetworks } from "./vm-network-options.ts";

describe("rules on the command line", () => {
  it("are read, and shown as they are given", () => {
    const given = ["tcp:80+8000-8100,from=label:app=web", "udp:53", "icmp,from=10.1.0.0/24", "any"];
    const rules = parseRules(given, "in");
    expect(rules).toEqual([
      { protocol: "tcp", ports: ["80", "8000-8100"], peer: "label:app=web" },
      { protocol: "udp", ports: ["53"] },
      { protocol: "icmp", peer: "10.1.0.0/24" },
      { protocol: "any" },
    ]);
    expect(rulesText(rules, "in")).toBe(given.join(" "));
    expect(rulesText(parseRules(["any,to=group:db"], "out"), "out")).toBe("any,to=group:db");
    expect([parseRules(["none"], "in"), rulesText([], "in")]).toEqual([[], "none"]);
  });

  it("are refused where a word is of the other direction, or not known", () => {
    for (const text of ["tcp:80,to=group:a", "tcp,80", "tcp,from=group:a,from=group:b"]) {
      expect(() => parseRules([text], "in")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });

  it("are refused by the option as it was given, also where a node would refuse them", () => {
    const refusals = [
      [["none", "tcp:80"], "--in none: stands alone, without other rules"],
      [["any", "tcp:99999"], "--in tcp:99999: ports is no range of ports from 1 to 65535"],
      [["icmp:80"], "--in icmp:80: ports go with tcp and udp only"],
      [["tcp,from=nobody"], "--in tcp,from=nobody: peer is no peer"],
      [["http"], "--in http: protocol "],
    ] as const;
    for (const [given, why] of refusals) expect(() => parseRules(given, "in")).toThrow(why);
  });

  it("are named by groups of a card", () => {
    expect(parseNetworks(["lan,groups=web+db"])).toEqual([{ network: "lan", securityGroups: ["web", "db"] }]);
  });
});
