import { toUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { addressClaimBytes } from "./address-claim.ts";

const claim = {
  clusterId: "7f3c",
  nodeId: 2,
  endpointId: "ab".repeat(32),
  incarnation: 1,
  starts: 4,
  sequence: 2,
  addresses: ["10.0.0.2:7000", "https://relay.example/"],
};

describe("addressClaimBytes", () => {
  it("are those that every release signs", () => {
    expect(toUtf8(addressClaimBytes(claim))).toBe(
      `blixard/address-claim/1 ["7f3c",2,"${"ab".repeat(32)}",1,4,2,["10.0.0.2:7000","https://relay.example/"]]`,
    );
  });

  it("differ when any part differs", () => {
    const others = [
      claim,
      { ...claim, clusterId: "7f3d" },
      { ...claim, nodeId: 3 },
      { ...claim, endpointId: "ac".repeat(32) },
      { ...claim, incarnation: 2 },
      { ...claim, starts: 5 },
      { ...claim, sequence: 3 },
      { ...claim, addresses: ["10.0.0.2:7000"] },
      { ...claim, addresses: ['10.0.0.2:7000","https://relay.example/'] },
      { ...claim, addresses: [] },
    ];
    expect(new Set(others.map((other) => toUtf8(addressClaimBytes(other)))).size).toBe(others.length);
  });
});
