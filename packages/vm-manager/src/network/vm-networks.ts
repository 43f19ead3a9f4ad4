/**
 * The networks of the VMs of one node: which ports the cluster wants, as this manager knows, and the switch that carries them, or the
 * bridges of the host that do. The
 * switch is started with the first port, found again after the node was started anew, and exchanged when it does not answer.
 */
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { BlixardError, type Clock, type Logger, messageOf, Watch } from "@blixard/common";
import { type CardState, privateNetworks, userNetwork } from "@blixard/protocol";
import type { VmMetrics } from "../metrics.ts";
import { endHelpers, HelperConnection, type HelperPlace, startHelper } from "../process/helper-process.ts";
import { untilWoken } from "../until-woken.ts";
import { BridgePorts, tryBridge } from "./bridges.ts";
import { cardStatesOf } from "./card-states.ts";
import { HostAddresses } from "./host-addresses.ts";
import type { HostNetworks } from "./nic.ts";
import { passtInstallHint } from "./passt.ts";
import type { CarrierEndpoint, CarrierProgram } from "./private/frame-carrier.ts";
import type { LanePeer } from "./private/lanes.ts";
import type { NetworksOfNode } from "./private/network-table.ts";
import { dropReasons } from "./private/private-wall.ts";
import type { ProbeAnswer, ProbeAsk } from "./probe/guest-probe.ts";
import {
  type BridgePortConfig,
  type PortConfig,
  type SwitchAnswers,
  type SwitchQuestion,
  switchKind,
} from "./switch-messages.ts";
import { type GuestStream, openGuestStream } from "./tcp/guest-stream.ts";
import { tryPasst } from "./try-passt.ts";

type SwitchConnection = HelperConnection<SwitchQuestion, SwitchAnswers>;

const pollMs = 1_000;
const answerTimeoutMs = 5_000;
/** Attempts to reach the switch, one after the other, after which another one takes its place. */
const attemptsMax = 3;

export interface VmNetworksDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly runDirectory: string;
  readonly metrics: Pick<VmMetrics, "framesDropped">;
  /** What carries frames to other nodes; undefined: nothing. */
  readonly carrier: CarrierProgram | undefined;
  /** Linux bridges of this host that VMs may have cards in. */
  readonly bridges: readonly string[];
}

/** How the switch of this node comes together with those of others. */
export interface NetworkLane {
  /** The nodes that have VMs in networks of VMs of this node. */
  readonly neighbours: Pick<Watch<readonly number[]>, "value" | "until">;
  /** Where the switch takes frames of others. @throws UNAVAILABLE while it carries no private network, UNSUPPORTED */
  endpoint(): Promise<CarrierEndpoint>;
  /** Replaces the switches with which this one exchanges frames; each proves its key, and stands for its node. */
  setPeers(peers: readonly LanePeer[]): void;
}

/** A port of a guest, in one of the networks of its VM. */
export interface GuestPlace {
  readonly port: number;
  readonly network: string;
}

/** Why this host gives no networks, and what to do about it. */
export interface MissingNetworks {
  readonly reason: string;
  readonly hint: string;
}

/** Tries what the network `user` needs. Undefined when it works. */
export async function whyNoNetworks(clock: Clock): Promise<MissingNetworks | undefined> {
  if (!new HostAddresses(() => clock.monotonicMs()).areKnown) {
    return { reason: "the kernel does not show its addresses", hint: "let the node read /proc/net/fib_trie" };
  }
  const reason = await tryPasst(clock);
  if (reason === undefined) return undefined;
  const installed = !reason.endsWith("not installed");
  return { reason, hint: installed ? "let this user make user namespaces, which passt stands in" : passtInstallHint };
}

export class VmNetworks implements NetworkLane {
  /** What VMs can have cards in here. */
  readonly available: HostNetworks;
  /** Why there are none. */
  readonly missing: MissingNetworks | undefined;
  /** What is wrong with the network of a VM, by its id. */
  readonly problems = new Watch<ReadonlyMap<string, string>>(new Map());
  readonly neighbours = new Watch<readonly number[]>([]);
  readonly #deps: VmNetworksDeps;
  readonly #place: HelperPlace;
  readonly #bridges = new BridgePorts();
  readonly #wanted = new Map<string, readonly PortConfig[]>();
  /** What the switch was told, over the present connection. */
  readonly #told = new Map<string, readonly PortConfig[]>();
  #networks: NetworksOfNode = { nodeId: 0, networks: [] };
  #peers: readonly LanePeer[] = [];
  /** What the switch knows of these, over the present connection. */
  #toldNetworks: NetworksOfNode | undefined;
  #toldPeers: readonly LanePeer[] = [];
  #drops: Readonly<Record<string, number>> = {};
  readonly #wake = new Watch(0);
  readonly #closed = new AbortController();
  readonly #loop: Promise<void>;
  #connection: SwitchConnection | undefined;

  private constructor(deps: VmNetworksDeps, available: HostNetworks, missing: MissingNetworks | undefined) {
    this.#deps = deps;
    this.missing = missing;
    this.available = available;
    this.#place = { clock: deps.clock, socketPath: join(deps.runDirectory, "switch") };
    this.#loop = this.#run();
  }

  /** `tries`: a driver of this node gives VMs network cards. */
  static async open(deps: VmNetworksDeps, { tries }: { readonly tries: boolean }): Promise<VmNetworks> {
    const nothing = { networks: [], bridges: [] };
    if (!tries)
      return new VmNetworks(deps, nothing, { reason: "no driver of this node gives network cards", hint: "" });
    const missing = await whyNoNetworks(deps.clock);
    if (missing !== undefined) deps.logger.log("warn", "VMs of this node have no network user", { ...missing });
    const networks = [...(missing === undefined ? [userNetwork] : []), privateNetworks];
    return new VmNetworks(deps, { networks, bridges: await bridgesHere(deps) }, missing);
  }

  /** A running VM has these ports; none when it does not run any more. Level-triggered. */
  want(vmId: string, all: readonly (PortConfig | BridgePortConfig)[]): void {
    const hasChanged = this.#bridges.want(vmId, all.filter(isBridged));
    if (hasChanged) this.#wake.update((count) => count + 1);
    const ports = all.filter((port) => !isBridged(port));
    if (isDeepStrictEqual(this.#wanted.get(vmId) ?? [], ports)) return;
    if (ports.length === 0) this.#wanted.delete(vmId);
    else this.#wanted.set(vmId, ports);
    this.#wake.update((count) => count + 1);
  }

  setNetworks(networks: NetworksOfNode): void {
    if (isDeepStrictEqual(networks, this.#networks)) return;
    this.#networks = networks;
    const nodes = new Set(networks.networks.flatMap(({ hosts }) => hosts.map(({ node }) => node)));
    nodes.delete(networks.nodeId);
    const neighbours = [...nodes].sort((a, b) => a - b);
    if (!isDeepStrictEqual(neighbours, this.neighbours.value)) this.neighbours.set(neighbours);
    this.#wake.update((count) => count + 1);
  }

  async endpoint(): Promise<CarrierEndpoint> {
    const { carrier } = this.#deps;
    if (carrier === undefined) throw new BlixardError("UNSUPPORTED", "networks of this node do not reach others");
    if (this.#networks.networks.length === 0 || this.#connection?.isOpen !== true) {
      throw new BlixardError("UNAVAILABLE", "the switch of this node carries no private network");
    }
    return await this.#connection.ask({ type: "lane", carrier }, answerTimeoutMs);
  }

  setPeers(peers: readonly LanePeer[]): void {
    if (isDeepStrictEqual(peers, this.#peers)) return;
    this.#peers = peers;
    this.#wake.update((count) => count + 1);
  }

  /**
   * Whether a port of a guest answers in its network `user`.
   * @throws VM_DRIVER_FAILED, DEADLINE_EXCEEDED where it cannot be asked, which says nothing of the guest
   */
  async probe(vmId: string, ask: ProbeAsk, timeoutMs: number): Promise<ProbeAnswer> {
    const connection = this.#connection;
    if (connection === undefined || !this.#told.has(vmId)) {
      throw new BlixardError("VM_DRIVER_FAILED", this.missing?.reason ?? "its network is not up");
    }
    return await connection.ask({ type: "probe", vmId, ask, timeoutMs }, timeoutMs + answerTimeoutMs);
  }

  /** The network cards of a running VM, and which other nodes their frames reach. None when it is not up. */
  async stateOf(vmId: string): Promise<readonly CardState[]> {
    const bridged = this.#bridges.statesOf(vmId);
    const ports = this.#told.get(vmId);
    if (this.#connection === undefined || ports === undefined) return bridged;
    const status = await this.#connection.ask({ type: "status" }, answerTimeoutMs);
    const forwards = status.ports.flatMap((port) => (port.vmId === vmId ? (port.forwards ?? []) : []));
    return [...cardStatesOf(ports, this.#networks, { lanes: status.lanes, forwards }), ...bridged];
  }

  /** Opens a connection to a port of a guest. @throws GUEST_UNREACHABLE, DEADLINE_EXCEEDED */
  async connectGuest(vmId: string, { port, network }: GuestPlace, signal: AbortSignal): Promise<GuestStream> {
    const bridge = this.#bridges.statesOf(vmId).find((card) => card.network === network)?.bridge;
    if (bridge !== undefined) {
      const why = `its network ${network} is the bridge ${bridge}, where the cluster has no address to begin a connection at`;
      throw new BlixardError("GUEST_UNREACHABLE", why, { outcome: "not_applied" });
    }
    const card = this.#told.get(vmId)?.find((each) => this.#nameOf(each) === network);
    if (this.#connection === undefined || card === undefined) {
      const missing = network === userNetwork ? this.missing?.reason : undefined;
      const why = missing ?? `its card in the network ${network} is not up`;
      throw new BlixardError("GUEST_UNREACHABLE", why, { outcome: "not_applied" });
    }
    const switchSocketPath = this.#place.socketPath;
    const ask = card.type === "private" ? { vmId, port, networkId: card.networkId } : { vmId, port };
    return await openGuestStream({ clock: this.#deps.clock, switchSocketPath }, ask, signal);
  }

  #nameOf(port: PortConfig): string | undefined {
    if (port.type === "user") return userNetwork;
    return this.#networks.networks.find(({ networkId }) => networkId === port.networkId)?.name;
  }

  /** Lets go of the switch, which goes on. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#wake.update((count) => count + 1);
    this.#connection?.close();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#closed;
    let failures = 0;
    while (!signal.aborted) {
      const seen = this.#wake.value;
      try {
        await this.#tell();
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        failures++;
        if (failures === 1) logger.log("warn", "the switch of the VMs does not answer", { error: messageOf(error) });
        await this.#lose(messageOf(error), failures >= attemptsMax);
      }
      // With nothing to tell, nothing has to be polled.
      const isIdle = this.#told.size === 0 && failures === 0 && this.#bridges.isEmpty;
      const untilMs = isIdle ? undefined : clock.monotonicMs() + pollMs;
      await untilWoken(clock, this.#wake, seen, untilMs);
    }
  }

  async #tell(): Promise<void> {
    const cutOff = this.#bridges.look();
    if (this.#wanted.size === 0 && this.#told.size === 0) return this.#setProblems(cutOff);
    const connection = await this.#connected();
    await this.#tellNetworks(connection);
    for (const vmId of new Set([...this.#wanted.keys(), ...this.#told.keys()])) {
      const ports = this.#wanted.get(vmId) ?? [];
      if (isDeepStrictEqual(this.#told.get(vmId) ?? [], ports)) continue;
      await connection.ask({ type: "set", vmId, ports }, answerTimeoutMs);
      if (ports.length === 0) this.#told.delete(vmId);
      else this.#told.set(vmId, ports);
    }
    const { ports, drops } = await connection.ask({ type: "status" }, answerTimeoutMs);
    this.#count(drops);
    const problems = ports.flatMap(({ vmId, problem }) => (problem === undefined ? [] : [[vmId, problem] as const]));
    this.#setProblems(new Map([...cutOff, ...problems]));
    if (this.#told.size > 0) return;
    // It ends when nobody needs it.
    connection.close();
    this.#connection = undefined;
  }

  /** Before the ports: a port of which nothing is known lets nothing pass. */
  async #tellNetworks(connection: SwitchConnection): Promise<void> {
    const [networks, peers] = [this.#networks, this.#peers];
    if (networks !== this.#toldNetworks) await connection.ask({ type: "networks", networks }, answerTimeoutMs);
    this.#toldNetworks = networks;
    if (peers !== this.#toldPeers) await connection.ask({ type: "peers", peers }, answerTimeoutMs);
    this.#toldPeers = peers;
  }

  /** The switch counts from its own start. */
  #count(drops: Readonly<Record<string, number>>): void {
    for (const reason of dropReasons) {
      const more = (drops[reason] ?? 0) - (this.#drops[reason] ?? 0);
      if (more > 0) this.#deps.metrics.framesDropped.add(more, { reason });
    }
    this.#drops = drops;
  }

  async #connected(): Promise<SwitchConnection> {
    if (this.#connection?.isOpen) return this.#connection;
    this.#told.clear();
    this.#toldNetworks = undefined;
    this.#toldPeers = [];
    const directory = dirname(this.#place.socketPath);
    const found = await HelperConnection.open<SwitchQuestion, SwitchAnswers>(switchKind, this.#place).catch(
      () => undefined,
    );
    if (found === undefined) await endHelpers(switchKind, this.#place);
    this.#connection = found ?? (await startHelper(switchKind, this.#place, { directory }));
    if (this.#closed.signal.aborted) this.#connection.close();
    return this.#connection;
  }

  /** `ends`: one that does not answer holds up guests, and the next one takes over. */
  async #lose(problem: string, ends: boolean): Promise<void> {
    this.#connection?.close();
    this.#connection = undefined;
    this.#told.clear();
    const cards = [...this.#wanted.keys()].map((vmId) => [vmId, problem] as const);
    this.#setProblems(new Map([...this.#bridges.look(), ...cards]));
    if (ends) await endHelpers(switchKind, this.#place).catch(() => 0);
  }

  #setProblems(problems: ReadonlyMap<string, string>): void {
    if (!isDeepStrictEqual(problems, this.problems.value)) this.problems.set(problems);
  }
}

function isBridged(port: PortConfig | BridgePortConfig): port is BridgePortConfig {
  return port.type === "bridge";
}

/** Those of the bridges that the operator allows in which a tap can be plugged. */
async function bridgesHere({ bridges, logger }: VmNetworksDeps): Promise<readonly string[]> {
  const offered: string[] = [];
  for (const bridge of bridges) {
    const reason = await tryBridge(bridge);
    if (reason === undefined) offered.push(bridge);
    else logger.log("warn", "a bridge is not offered to VMs", { bridge, reason });
  }
  return offered;
}
