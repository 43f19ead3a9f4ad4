import { parseIpv4 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { unconfined } from "../confinement/launcher.ts";
import { cardStatesOf } from "./card-states.ts";
import type { PortConfig } from "./switch-messages.ts";
import { userAddressesOf } from "./user-network.ts";

const [own, other] = ["02:00:00:00:00:08", "02:00:00:00:00:09"];
const hostOn = (node: number, mac: string) => ({
  name: `vm-${node}`,
  mac,
  address: parseIpv4("10.1.0.8"),
  node,
  epoch: 1,
});
const range = { base: parseIpv4("10.1.0.0"), mask: 0xffff_ff00 };
const network = {
  ...{ networkId: "id", name: "lan", range, server: range.base + 1 },
  hosts: [hostOn(1, own), hostOn(4, other), hostOn(3, other), hostOn(2, other), hostOn(5, other), hostOn(2, other)],
};
const vm = { pid: 1, startTime: "1" };
const ports: readonly PortConfig[] = [
  { type: "user", vm, socketPath: "", mac: other, addresses: userAddressesOf(), forwards: [], confinement: unconfined },
  { type: "private", vm, socketPath: "", mac: own, networkId: "id", epoch: 1 },
];

describe("cardStatesOf", () => {
  it("tells of each card, and of the lane to each other node with VMs in its network", () => {
    const lanes = [
      { node: 2, connected: true },
      { node: 3, connected: false },
      { node: 4, connected: false, problem: "it refuses" },
      { node: 9, connected: true },
    ];
    const forwards = [{ port: 53, listen: "127.0.0.1", protocol: "udp", state: "closed", why: "taken" } as const];
    expect(cardStatesOf(ports, { nodeId: 1, networks: [network] }, { lanes, forwards })).toEqual([
      { network: "user", address: "10.0.2.15", mac: other, lanes: [], forwards },
      {
        ...{ network: "lan", address: "10.1.0.8", mac: own },
        lanes: [
          { node: 2, state: "up" },
          { node: 3, state: "idle" },
          { node: 4, state: "down", why: "it refuses" },
          { node: 5, state: "down", why: "it has not said which switch it has" },
        ],
      },
    ]);
  });

  it("tells nothing of a card that the state does not know", () => {
    const none = { lanes: [], forwards: [] };
    const [, card] = ports as [PortConfig, PortConfig];
    expect(cardStatesOf([card], { nodeId: 1, networks: [] }, none)).toEqual([]);
    expect(cardStatesOf([card], { nodeId: 1, networks: [{ ...network, hosts: [] }] }, none)).toEqual([]);
  });
});
