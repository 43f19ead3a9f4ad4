/** What people are told of the network cards of a running VM: their addresses, and the lanes to the nodes of their neighbours. */
import { formatIpv4 } from "@blixard/common";
import { type CardState, type ForwardState, userNetwork } from "@blixard/protocol";
import type { LaneStatus } from "./private/lanes.ts";
import type { NetworksOfNode } from "./private/network-table.ts";
import type { PortConfig, SwitchAnswers } from "./switch-messages.ts";

const unknownSwitch = "it has not said which switch it has";

export function cardStatesOf(
  ports: readonly PortConfig[],
  { nodeId, networks }: NetworksOfNode,
  { lanes, forwards }: Pick<SwitchAnswers["status"], "lanes"> & { readonly forwards: readonly ForwardState[] },
): CardState[] {
  return ports.flatMap((port): CardState[] => {
    const { mac } = port;
    if (port.type === "user") {
      const card = { network: userNetwork, address: formatIpv4(port.addresses.guest), mac, lanes: [] };
      return [forwards.length === 0 ? card : { ...card, forwards: [...forwards] }];
    }
    const network = networks.find(({ networkId }) => networkId === port.networkId);
    const own = network?.hosts.find((host) => host.mac === mac);
    if (network === undefined || own === undefined) return [];
    const others = new Set(network.hosts.map(({ node }) => node).filter((node) => node !== nodeId));
    const nodes = [...others].sort((a, b) => a - b);
    const card = { network: network.name, address: formatIpv4(own.address), mac };
    return [{ ...card, lanes: nodes.map((node) => laneTo(node, lanes)) }];
  });
}

function laneTo(node: number, lanes: readonly LaneStatus[]): CardState["lanes"][number] {
  const lane = lanes.find((each) => each.node === node);
  if (lane === undefined) return { node, state: "down", why: unknownSwitch };
  if (lane.problem !== undefined) return { node, state: "down", why: lane.problem };
  return { node, state: lane.connected ? "up" : "idle" };
}
