/** The methods of networks that have records. The leader chooses the id of a network; `apply` checks that no VM is in it before it goes. */
import { notApplied } from "@blixard/common";
import type { NetworkRecord } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { randomUuid } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { networkViews } from "../state-machine/vm-cards.ts";
import { pageOf } from "./page.ts";

/** What these methods use of the node. */
type NetworkParts = Pick<NodeParts, "random" | "stateMachine" | "proposals">;

type NetworkMethods = "network.list" | "network.get" | "network.create" | "network.delete";

export function networkHandlers(parts: NetworkParts): Pick<Handlers, NetworkMethods> {
  const written = async (body: Parameters<NodeParts["proposals"]["propose"]>[0], call: CallScope) => {
    const { index, term, value } = await parts.proposals.propose<{ readonly network: NetworkRecord }>(body, call);
    return { index, term, network: value.network };
  };
  return {
    "network.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      const { appliedIndex: index } = version.value;
      const { items, ...page } = pageOf(state.networks.values(), asked, { keyOf: ({ name }) => name, index });
      return { ...page, items: networkViews(items, state.vms.values()) };
    },
    "network.get": async ({ name }) => {
      const { state } = parts.stateMachine;
      const network = networkOf(state, name);
      const [view = { ...network, vms: 0 }] = networkViews([network], state.vms.values());
      return view;
    },
    "network.create": (request, call) =>
      written({ type: "network.create", ...request, networkId: randomUuid(parts.random) }, call),
    "network.delete": ({ name }, call) => written({ type: "network.delete", name }, call),
  };
}

/** @throws NETWORK_NOT_FOUND */
export function networkOf({ networks }: Pick<ClusterState, "networks">, name: string): NetworkRecord {
  const network = networks.get(name);
  if (network !== undefined) return network;
  throw notApplied("NETWORK_NOT_FOUND", `there is no network ${name}`, {
    hint: `Make it: blixard network create ${name} --range 10.1.0.0/24`,
  });
}
