/** What `vm explain` says of the networks of a VM: its cards, whom their frames reach, and where its ports are reached. */
import type { BlixardClient } from "@blixard/client";
import { directAddresses, formatHostPort, parseHostPort, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import {
  type CardState,
  type ForwardState,
  listenAddressOf,
  networksOf,
  userAddressDefault,
  userNetwork,
  type VmCard,
  type VmForward,
  type VmNetwork,
  type VmRecord,
} from "@blixard/protocol";

/** How long a node may take to open the ports of a VM that runs, before nothing is said of them. */
const openingMs = 5_000;
const askAgainMs = 200;

/** Where a forwarded port is reached now. */
interface ReachedPort {
  readonly at: readonly string[];
  readonly to: number;
  readonly protocol: "tcp" | "udp";
  readonly sources?: readonly string[];
  /** Whether the node has opened it; absent: nobody has said. */
  readonly state?: ForwardState["state"];
  /** Why it is closed. */
  readonly why?: string;
}

export interface VmNetworkFacts {
  /** Absent: the node of the VM does not say, or has no such VM. */
  readonly networkCards?: readonly CardState[];
  readonly forwardedPorts: readonly ReachedPort[];
}

export async function networkFactsOf(client: BlixardClient, vm: VmRecord): Promise<VmNetworkFacts> {
  const { name, node } = vm;
  const answered = node === null ? undefined : await client.vms.networkState(name).catch(() => undefined);
  const record = node === null ? undefined : await client.nodes.get(node).catch(() => undefined);
  return {
    ...(answered === undefined ? {} : { networkCards: answered.cards }),
    forwardedPorts: reachedPortsOf(vm, record?.addresses ?? [], answered?.cards),
  };
}

/** `addresses`: those of the node that has the VM. */
export function reachedPortsOf(
  { spec, node }: VmRecord,
  addresses: readonly string[],
  cards: readonly CardState[] = [],
): ReachedPort[] {
  const states = cards.flatMap(({ forwards = [] }) => forwards);
  const hosts = directAddresses(addresses).flatMap((address) => parseHostPort(address)?.host ?? []);
  return (spec.forwards ?? []).map((forward) => {
    const { port, to, protocol = "tcp", sources } = forward;
    const at = node === null ? [] : hostsOf(forward, hosts).map((host) => formatHostPort(host, port));
    const seen = states.find((each) => isOf(each, forward));
    const opened =
      seen === undefined ? {} : { state: seen.state, ...(seen.why === undefined ? {} : { why: seen.why }) };
    return { at, to, protocol, ...(sources === undefined ? {} : { sources }), ...opened };
  });
}

function isOf(state: ForwardState, forward: VmForward): boolean {
  const { port, protocol = "tcp" } = forward;
  return state.port === port && state.protocol === protocol && state.listen === listenAddressOf(forward);
}

/** What the node of a VM that runs could not open of its forwarded ports; waits a moment for a node that has not tried yet. */
export async function closedPortsOf(
  client: BlixardClient,
  { name, spec }: Pick<VmRecord, "name" | "spec">,
  signal?: AbortSignal,
): Promise<string[]> {
  const { forwards = [] } = spec;
  if (forwards.length === 0) return [];
  const untilMs = systemClock.monotonicMs() + openingMs;
  for (;;) {
    const answered = await client.vms.networkState(name).catch(() => undefined);
    if (answered === undefined) return [];
    const states = answered.cards.flatMap((card) => card.forwards ?? []);
    // Those of a change that has not reached the switch yet are not there.
    const wanted = states.filter((state) => forwards.some((forward) => isOf(state, forward)));
    const isSettled = wanted.length === forwards.length && wanted.every(({ state }) => state !== "opening");
    if (isSettled || systemClock.monotonicMs() >= untilMs) return wanted.flatMap(closedText);
    await sleep(systemClock, askAgainMs, signal);
  }
}

function closedText({ port, protocol, state, why }: ForwardState): string[] {
  return state === "closed"
    ? [`its port ${port} of ${protocol} is not open: ${why ?? "its node does not say why"}`]
    : [];
}

/** A node listens for them at IPv4 addresses alone. */
function hostsOf(forward: VmForward, nodeHosts: readonly string[]): readonly string[] {
  const listen = listenAddressOf(forward);
  if (listen !== "0.0.0.0") return [listen];
  const reached = [...new Set(nodeHosts.filter((host) => !host.includes(":")))];
  return reached.length === 0 ? [listen] : reached;
}

export function networkLines(vm: VmRecord, { networkCards, forwardedPorts }: VmNetworkFacts): string[] {
  const cards = networksOf(vm.spec).map((wished) => {
    const state = networkCards?.find(({ network }) => network === wished.network);
    return `network    ${cardText(vm, wished, state)}`;
  });
  return [...cards, ...forwardedPorts.map((port) => `forward    ${portText(vm, port)}`)];
}

function cardText({ cards = [] }: VmRecord, wished: VmNetwork, state: CardState | undefined): string {
  const { network } = wished;
  const isUser = network === userNetwork;
  const record = cards.find((card) => card.network === network);
  if (record?.bridge !== undefined) return bridgeText(record, state);
  const address = state?.address ?? record?.address ?? wished.address ?? (isUser ? userAddressDefault : undefined);
  const mac = state?.mac ?? record?.mac ?? wished.mac;
  const named = [network, address, record?.address6, mac].filter((part) => part !== undefined).join(" ");
  if (isUser) return `${named}: ${egressText(wished)}${state === undefined ? "; it is not up" : ""}`;
  return `${named}: ${state === undefined ? "it is not up" : lanesText(state)}`;
}

/** Its guest has the address that is given there, or that it gives itself. */
function bridgeText({ network, mac, bridge }: VmCard, state: CardState | undefined): string {
  const how = state?.tap === undefined ? "it is not up" : `by the tap ${state.tap} of its node`;
  return `${network} ${mac}: in the bridge ${bridge}, ${how}`;
}

function egressText({ egress }: VmNetwork): string {
  if (egress === undefined) return "out to everything but its node";
  return egress.length === 0 ? "out to nothing" : `out to ${egress.join(", ")} alone`;
}

function lanesText({ lanes }: CardState): string {
  if (lanes.length === 0) return "all VMs in it are on this node";
  return lanes
    .map(({ node, state, why }) => {
      if (state === "down") return `frames do not pass to node ${node}: ${why ?? "it is not known why"}`;
      return state === "up" ? `frames pass to node ${node}` : `none was sent to node ${node} yet`;
    })
    .join("; ");
}

function portText({ node }: VmRecord, { at, to, protocol, sources, state, why = "" }: ReachedPort): string {
  const from = sources === undefined ? "" : `, from ${sources.join(", ")}`;
  if (at.length === 0) return `to port ${to} of ${protocol}${from}, on the node that gets the VM`;
  const local = at.every((each) => each.startsWith("127.")) ? ` on node ${node} itself` : ` (node ${node})`;
  if (state === "closed") return `${at.join(", ")}${local} is not open, and leads nowhere: ${why}`;
  const opening = state === "opening" ? ", when its node has opened it" : "";
  return `${at.join(", ")}${local} leads to port ${to} of ${protocol}${from}${opening}`;
}
