/**
 * Tells the VM manager of this node who is in the private networks of its VMs, on whatever nodes, and the security groups of their
 * cards. What a switch lets pass follows from that alone, so it is told with every change of a place, an epoch, a label or a rule.
 */
import { parseIpv4, parseIpv6, parseIpv6Network } from "@blixard/common";
import { groupPeer, isPrivate, labelPeer, networkPlanOf, type PrivateNetwork, type VmRecord } from "@blixard/protocol";
import type { NetworksOfNode } from "@blixard/vm-manager";
import type { NodeParts } from "../node-parts.ts";
import { sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";

/** What this duty uses of the node. */
type NetworkDutyParts = Pick<NodeParts, "options" | "vmManager" | "stateMachine">;

/** Runs until `signal` aborts. Never rejects. Nothing goes down before the state has caught up with a leader. */
export async function runNetworkDuty(
  { stateMachine, vmManager, options }: NetworkDutyParts,
  loop: LoopDeps,
  caughtUp: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  await caughtUp(signal).catch(() => {});
  if (signal.aborted) return;
  let seen = -1;
  await runLoop(loop, "networks-desired", signal, async () => {
    const latest = ({ vms, networks, securityGroups }: Record<"vms" | "networks" | "securityGroups", number>) =>
      Math.max(vms, networks, securityGroups);
    const { changed } = await stateMachine.version.until((next) => latest(next.changed) !== seen, { signal });
    seen = latest(changed);
    vmManager.setNetworks(networksOfNode(stateMachine.state, options.nodeId));
  });
}

type NetworkOfNode = NetworksOfNode["networks"][number];

/** The private networks in which VMs of the node are, and who else is in them. A VM without a node is in none. */
export function networksOfNode(state: ClusterState, nodeId: number): NetworksOfNode {
  if (state.networks.size === 0) return { nodeId, networks: [] };
  const vms = sortedRecords(state, "vms").filter(({ cards = [] }) => cards.length > 0);
  const own = new Set(
    vms.flatMap(({ node, cards = [] }) => (node === nodeId ? cards.map(({ networkId }) => networkId) : [])),
  );
  const networks = sortedRecords(state, "networks")
    .filter(isPrivate)
    .filter(({ networkId }) => own.has(networkId));
  return { nodeId, networks: networks.map((network) => networkOfNode(state, network, vms, nodeId)) };
}

function networkOfNode(
  state: ClusterState,
  network: PrivateNetwork,
  vms: readonly VmRecord[],
  nodeId: number,
): NetworkOfNode {
  const { networkId, name } = network;
  const { range, server } = networkPlanOf(network);
  const here = vms.filter(({ node }) => node === nodeId).flatMap((vm) => groupsIn(vm, name) ?? []);
  const groups = [...new Set(here)].sort().flatMap((group) => {
    const record = state.securityGroups.get(group);
    return record === undefined ? [] : [{ name: group, in: record.in, out: record.out }];
  });
  const named = new Set(groups.flatMap((group) => [...group.in, ...group.out]).flatMap(({ peer }) => peer ?? []));
  const hosts = vms.flatMap((vm) => {
    const { node, fencingEpoch, cards = [] } = vm;
    const card = cards.find((each) => each.networkId === networkId);
    if (card?.address === undefined || node === null) return [];
    const address6 = card.address6 === undefined ? undefined : parseIpv6(card.address6);
    const own = node === nodeId ? groupsIn(vm, name) : undefined;
    const peers = peersOf(vm, name).filter((peer) => named.has(peer));
    return [
      {
        ...{ name: vm.name, mac: card.mac, address: parseIpv4(card.address), node, epoch: fencingEpoch },
        ...(address6 === undefined ? {} : { address6 }),
        ...(own === undefined ? {} : { groups: own }),
        ...(peers.length === 0 ? {} : { peers }),
      },
    ];
  });
  const network6 = network.range6 === undefined ? undefined : parseIpv6Network(network.range6);
  const second = network6 === undefined ? {} : { network6 };
  return { networkId, name, range, ...second, server, hosts, ...(groups.length === 0 ? {} : { groups }) };
}

/** The security groups of a card; undefined for one without. */
function groupsIn({ spec }: VmRecord, network: string): readonly string[] | undefined {
  return spec.networks?.find((each) => each.network === network)?.securityGroups;
}

/** All that rules can name the card of a VM by, beside its address. */
function peersOf(vm: VmRecord, network: string): string[] {
  const labels = Object.entries(vm.labels ?? {});
  return [...(groupsIn(vm, network) ?? []).map(groupPeer), ...labels.map(([key, value]) => labelPeer(key, value))];
}
