/**
 * Tells the VM manager of this node who is in the private networks of its VMs, on whatever nodes. What a switch lets pass follows from
 * that alone, so it is told with every change of a place or an epoch.
 */
import { parseIpv4 } from "@blixard/common";
import { networkPlanOf } from "@blixard/protocol";
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
    const latest = ({ vms, networks }: { readonly vms: number; readonly networks: number }) => Math.max(vms, networks);
    const { changed } = await stateMachine.version.until((next) => latest(next.changed) !== seen, { signal });
    seen = latest(changed);
    vmManager.setNetworks(networksOfNode(stateMachine.state, options.nodeId));
  });
}

/** The networks in which VMs of the node are, and who else is in them. A VM without a node is in none. */
export function networksOfNode(state: ClusterState, nodeId: number): NetworksOfNode {
  if (state.networks.size === 0) return { nodeId, networks: [] };
  const vms = sortedRecords(state, "vms").filter(({ cards = [] }) => cards.length > 0);
  const own = new Set(
    vms.flatMap(({ node, cards = [] }) => (node === nodeId ? cards.map(({ networkId }) => networkId) : [])),
  );
  const networks = sortedRecords(state, "networks").filter(({ networkId }) => own.has(networkId));
  return {
    nodeId,
    networks: networks.map((network) => {
      const { range, server } = networkPlanOf(network);
      const hosts = vms.flatMap(({ name, node, fencingEpoch, cards = [] }) => {
        const card = cards.find(({ networkId }) => networkId === network.networkId);
        if (card === undefined || node === null) return [];
        return [{ name, mac: card.mac, address: parseIpv4(card.address), node, epoch: fencingEpoch }];
      });
      return { networkId: network.networkId, name: network.name, range, server, hosts };
    }),
  };
}
