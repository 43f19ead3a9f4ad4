/** How the networks of VMs are in the whole cluster: what is missing on a node, lanes that carry nothing, ports and addresses. */
import { readFile } from "node:fs/promises";
import type { BlixardClient } from "@blixard/client";
import { directAddresses, parseHostPort, reasonOf } from "@blixard/common";
import { type CardState, type NetworkView, type NodeRecord, userNetwork, type VmRecord } from "@blixard/protocol";
import { type Finding, notOk, ok } from "./finding.ts";

const check = "VM networks of the cluster";
const askMs = 5_000;
/** VMs that are asked for their lanes; one for each network and node. */
const askedMax = 64;
const namedMax = 5;
const fewAddresses = 4;
const fewShare = 0.1;

/** What a VM on a node says of its lanes. */
interface LanesOfNode {
  readonly node: number;
  readonly lanes: CardState["lanes"];
}

export interface VmNetworkSituation {
  readonly nodes: readonly Pick<NodeRecord, "id" | "capacity" | "addresses">[];
  readonly vms: readonly Pick<VmRecord, "name" | "node" | "spec" | "conditions">[];
  readonly networks: readonly NetworkView[];
  readonly lanes: readonly LanesOfNode[];
  /** From which the system takes ports for whoever names none; undefined where it does not say. */
  readonly systemPorts: readonly [number, number] | undefined;
}

export async function checkVmNetworksOf(client: BlixardClient): Promise<Finding[]> {
  const limit = { timeoutMs: askMs };
  try {
    const [nodes, vms, networks] = await Promise.all([
      client.nodes.list(limit),
      client.vms.list(limit),
      client.networks.list(limit),
    ]);
    const lanes = await lanesOf(client, vms);
    return judgeVmNetworks({ nodes, vms, networks, lanes, systemPorts: await systemPortsOf() });
  } catch (error) {
    return [notOk(check, "unknown", reasonOf(error))];
  }
}

/** Nothing is said of what is as it should be, but once. */
export function judgeVmNetworks(situation: VmNetworkSituation): Finding[] {
  const found = [
    ...missingOn(situation),
    ...brokenLanes(situation),
    ...portsOfNodes(situation),
    ...vmsWithoutNetwork(situation),
    ...fullNetworks(situation),
    ...closedBridges(situation),
  ];
  const { networks, vms } = situation;
  const forwards = vms.reduce((sum, { spec }) => sum + (spec.forwards?.length ?? 0), 0);
  const bridged = networks.filter(({ bridge }) => bridge !== undefined).length;
  const kinds = `${networks.length - bridged} private, ${bridged === 0 ? "" : `${bridged} bridged, `}`;
  return found.length > 0 ? found : [ok(check, `${kinds}${forwards} forwarded ports`)];
}

function missingOn({ nodes }: VmNetworkSituation): Finding[] {
  return nodes.flatMap(({ id, capacity }) => {
    const { capabilities = [] } = capacity;
    // A node that gives no network cards at all has no driver for that, and says so itself.
    const networks = new Set(capabilities.flatMap(({ networks = [] }) => networks));
    if (networks.size === 0 || networks.has(userNetwork)) return [];
    const next =
      "install passt there, and start the node again: apt-get install -y passt; or see there: blixard doctor";
    return [notOk(`VM networks of node ${id}`, "warn", "VMs there have no network user: no way out, no ports", next)];
  });
}

function brokenLanes({ lanes }: VmNetworkSituation): Finding[] {
  const broken = new Map<string, Finding>();
  for (const { node, lanes: ways } of lanes) {
    for (const { node: other, state, why = "" } of ways) {
      if (state !== "down") continue;
      const next = `let the switches of node ${node} and node ${other} connect, over TCP and UDP: docs/networks.md`;
      broken.set(`${node} ${other}`, notOk(`lane of node ${node} to ${other}`, "warn", why, next));
    }
  }
  return [...broken.values()];
}

function portsOfNodes({ nodes, vms, systemPorts }: VmNetworkSituation): Finding[] {
  const forwards = vms.flatMap(({ name, spec }) => (spec.forwards ?? []).map(({ port }) => ({ name, port })));
  const named = (some: typeof forwards) => {
    const more = some.length > namedMax ? ` and ${some.length - namedMax} more` : "";
    return `${some
      .slice(0, namedMax)
      .map(({ name, port }) => `${port} of ${name}`)
      .join(", ")}${more}`;
  };
  const own = new Map(
    nodes.flatMap(({ id, addresses }) =>
      directAddresses(addresses).map((address) => [parseHostPort(address)?.port, id] as const),
    ),
  );
  const taken = forwards.filter(({ port }) => own.has(port));
  const [first, last] = systemPorts ?? [0, -1];
  const chosen = forwards.filter(({ port }) => port >= first && port <= last);
  const next = "forward other ports: blixard vm set NAME --forward PORT:TO";
  const blocked = `${named(taken)}: a port of a node itself, on which such a VM is never placed`;
  const risky = `${named(chosen)}: between ${first} and ${last}, where the system takes ports for nodes and programs; one may be taken when the VM starts`;
  return [
    ...(taken.length === 0 ? [] : [notOk("forwarded ports", "warn", blocked, next)]),
    ...(chosen.length === 0 ? [] : [notOk("forwarded ports", "warn", risky, next)]),
  ];
}

/** What nodes say of the networks of their VMs: a port that is not open, a card that is not up. */
function vmsWithoutNetwork({ vms }: VmNetworkSituation): Finding[] {
  const cut = vms.flatMap(({ name, node, conditions }) =>
    conditions.flatMap(({ type, status, message }) =>
      type === "Network" && !status ? [{ name, text: `on node ${node}: ${message}` }] : [],
    ),
  );
  const more = cut.length - namedMax;
  return [
    ...cut
      .slice(0, namedMax)
      .map(({ name, text }) => notOk(`network of VM ${name}`, "warn", text, `see: blixard vm explain ${name}`)),
    ...(more > 0
      ? [notOk("networks of VMs", "warn", `${more} more VMs have such`, "see: blixard vm list -o wide")]
      : []),
  ];
}

function fullNetworks({ networks }: VmNetworkSituation): Finding[] {
  return networks.flatMap(({ name, range, vms, freeAddresses }) => {
    if (freeAddresses === undefined || freeAddresses > Math.max(fewAddresses, (vms + freeAddresses) * fewShare))
      return [];
    const detail = `${freeAddresses} addresses of ${range} are free, ${vms} VMs are in it`;
    return [
      notOk(`network ${name}`, "warn", detail, "delete VMs that are in it, or make a larger network for new ones"),
    ];
  });
}

/** Networks that no VM can be in anywhere. */
function closedBridges({ nodes, networks }: VmNetworkSituation): Finding[] {
  const offered = new Set(
    nodes.flatMap(({ capacity }) => (capacity.capabilities ?? []).flatMap(({ bridges = [] }) => bridges)),
  );
  return networks.flatMap(({ name, bridge }) => {
    if (bridge === undefined || offered.has(bridge)) return [];
    const next = `start nodes that have it, as root, with --allow-bridge ${bridge}; their log says why they do not offer it`;
    return [notOk(`network ${name}`, "warn", `no node offers the bridge ${bridge}`, next)];
  });
}

/** Of one VM of each node in each network. */
async function lanesOf(client: BlixardClient, vms: readonly VmRecord[]): Promise<LanesOfNode[]> {
  const asked = new Map<string, { readonly name: string; readonly node: number }>();
  for (const { name, node, cards = [], phase } of vms) {
    if (node === null || phase !== "Running") continue;
    for (const { networkId } of cards) asked.set(`${node} ${networkId}`, { name, node });
  }
  const answers = [...asked.values()].slice(0, askedMax).map(async ({ name, node }) => {
    const state = await client.vms.networkState(name, { timeoutMs: askMs }).catch(() => undefined);
    return { node, lanes: state?.cards.flatMap(({ lanes }) => lanes) ?? [] };
  });
  return await Promise.all(answers);
}

/** Of this machine, which stands for the others. */
async function systemPortsOf(): Promise<readonly [number, number] | undefined> {
  const text = await readFile("/proc/sys/net/ipv4/ip_local_port_range", "utf8").catch(() => "");
  const [, first, last] = /^(\d+)\s+(\d+)/.exec(text) ?? [];
  return first === undefined || last === undefined ? undefined : [Number(first), Number(last)];
}
