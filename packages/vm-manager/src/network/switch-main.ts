/**
 * The switch of a node: a process of its own that carries the frames of the network cards of its VMs, whatever the node does, so
 * that guests keep their connections while the node is started anew. It ends when no VM and no node needs it.
 *
 * Arguments: `--blixard-switch SOCKET`.
 */
import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { setPriority } from "node:os";
import { isDeepStrictEqual } from "node:util";
import { answerQuestions } from "../process/helper-process.ts";
import { HostAddresses } from "./host-addresses.ts";
import { Fabric } from "./private/fabric.ts";
import type { CarrierProgram, FrameCarrier, OpenCarrier } from "./private/frame-carrier.ts";
import { type LanePeer, Lanes } from "./private/lanes.ts";
import { answerOwnNames } from "./private/names.ts";
import type { NetworkTable } from "./private/network-table.ts";
import { PrivatePort } from "./private/private-port.ts";
import type { PortConfig, PortStatus, SwitchAnswers, SwitchQuestion } from "./switch-messages.ts";
import { switchKind } from "./switch-messages.ts";
import { serveStreams } from "./tcp/stream-server.ts";
import type { TcpConnection, TcpConnectionEvents } from "./tcp/tcp-connection.ts";
import { UserPort } from "./user-port.ts";

const lookMs = 200;
/** Without a node and without a VM it ends after so long. */
const idleMs = 2_000;
/** Where processors are short, the node comes first: frames that wait cost less than a leader that is late. */
const niceness = 5;

type SwitchPort = UserPort | PrivatePort;

class SwitchProcess {
  readonly #socketPath: string;
  readonly #hostAddresses = new HostAddresses(() => performance.now());
  readonly #ports = new Map<string, readonly SwitchPort[]>();
  readonly #fabric = new Fabric(
    (nodeId, records) => (this.#lanes === undefined ? "no_lane" : this.#lanes.send(nodeId, records)),
    () => performance.now(),
  );
  #lane: Promise<FrameCarrier> | undefined;
  #lanes: Lanes | undefined;
  #peers: readonly LanePeer[] = [];
  readonly #connections = new Set<Socket>();
  readonly #server = createServer((socket) => this.#serve(socket));
  #busyAtMs = performance.now();

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  run(): void {
    rmSync(this.#socketPath, { force: true });
    this.#server.listen(this.#socketPath);
    const streams = serveStreams(this.#socketPath, ({ vmId, port, networkId }, events) =>
      networkId === undefined
        ? this.#userPortOf(vmId).connect(port, events)
        : this.#connectPrivate(vmId, networkId, port, events),
    );
    const looking = setInterval(() => {
      this.#fabric.look();
      for (const [vmId, ports] of this.#ports) {
        for (const port of ports) port.look();
        if (ports.every(({ isClosed }) => isClosed)) this.#ports.delete(vmId);
      }
      if (this.#connections.size > 0 || this.#ports.size > 0) {
        this.#busyAtMs = performance.now();
      } else if (performance.now() - this.#busyAtMs > idleMs) {
        clearInterval(looking);
        this.#server.close();
        streams.close();
        this.#lane?.then((carrier) => carrier.close()).catch(() => {});
      }
    }, lookMs);
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket);
    socket.on("close", () => this.#connections.delete(socket));
    answerQuestions<SwitchQuestion>(socket, (question) => this.#answer(question));
  }

  #answer(
    question: SwitchQuestion,
  ): SwitchAnswers[SwitchQuestion["type"]] | Promise<SwitchAnswers["lane"] | SwitchAnswers["probe"]> {
    switch (question.type) {
      case "status": {
        const ports = [...this.#ports].flatMap(([vmId, all]) => all.map((port) => this.#statusOf(vmId, port)));
        return { ports, drops: this.#fabric.drops, lanes: this.#lanes?.status ?? [] };
      }
      case "probe":
        return this.#userPortOf(question.vmId).probe(question.ask, question.timeoutMs);
      case "networks":
        this.#fabric.setNetworks(question.networks);
        return {};
      case "lane":
        return this.#openLane(question.carrier).then((carrier) => carrier.endpoint());
      case "peers":
        this.#peers = question.peers;
        this.#lanes?.setPeers(this.#peers);
        return {};
      case "set":
        this.#set(question.vmId, question.ports);
        return {};
      default:
        return question satisfies never;
    }
  }

  #statusOf(vmId: string, port: SwitchPort): PortStatus {
    const problem = port.problem ?? (port instanceof PrivatePort ? this.#laneProblem(port) : undefined);
    const forwards = port instanceof UserPort && port.forwards.length > 0 ? { forwards: port.forwards } : {};
    return { vmId, ...forwards, ...(problem === undefined ? {} : { problem }) };
  }

  #laneProblem({ config }: PrivatePort): string | undefined {
    const nodes = this.#fabric.nodesOf(config.networkId);
    const cut = [...(this.#lanes?.problems ?? [])].filter(([nodeId]) => nodes.has(nodeId));
    const [first] = cut;
    if (first === undefined) return undefined;
    const more = cut.length === 1 ? "" : `; nor to ${cut.length - 1} other nodes`;
    const network = this.#fabric.tableOf(config.networkId)?.network ?? config.networkId;
    return `frames of the network ${network} do not pass to node ${first[0]}: ${first[1]}${more}`;
  }

  #userPortOf(vmId: string): UserPort {
    const port = this.#ports.get(vmId)?.find((each) => each instanceof UserPort);
    if (port === undefined) throw new Error("the VM has no card in the network user");
    return port;
  }

  /** @throws when the VM has no such card, or there are too many */
  #connectPrivate(vmId: string, networkId: string, port: number, events: TcpConnectionEvents): TcpConnection {
    const isCard = (each: SwitchPort) => each instanceof PrivatePort && each.config.networkId === networkId;
    const card = this.#ports.get(vmId)?.find(isCard);
    const ends = card instanceof PrivatePort ? this.#fabric.endsOf(card) : undefined;
    if (!(card instanceof PrivatePort) || ends === undefined) {
      throw new Error("the state places no card of the VM in that network here");
    }
    return card.connect(ends, port, events);
  }

  /** A port that is as it is wanted goes on; any other is closed, and its connections with it. */
  #set(vmId: string, wanted: readonly PortConfig[]): void {
    const present = (this.#ports.get(vmId) ?? []).filter(({ isClosed }) => !isClosed);
    const kept = (config: PortConfig) => present.find((port) => isDeepStrictEqual(port.config, config));
    const keep = new Set(wanted.map(kept));
    for (const port of present) if (!keep.has(port)) port.close();
    const ports = wanted.map((config) => kept(config) ?? this.#open(vmId, config));
    if (ports.length === 0) this.#ports.delete(vmId);
    else this.#ports.set(vmId, ports);
  }

  #open(vmId: string, config: PortConfig): SwitchPort {
    const nowMs = () => performance.now();
    if (config.type === "user") {
      return new UserPort(config, {
        nowMs,
        isHostAddress: (address) => this.#hostAddresses.has(address),
        answerNames: (message) => answerOwnNames(message, this.#networksOf(vmId)),
      });
    }
    const port: PrivatePort = new PrivatePort(config, {
      nowMs,
      onFrames: (frames) => this.#fabric.fromGuest(port, frames),
      onClosed: () => this.#fabric.remove(port),
    });
    this.#fabric.add(port);
    return port;
  }

  /** The private networks of a VM. */
  #networksOf(vmId: string): readonly NetworkTable[] {
    const ports = this.#ports.get(vmId) ?? [];
    return ports.flatMap(({ config }) => {
      const table = config.type === "private" ? this.#fabric.tableOf(config.networkId) : undefined;
      return table === undefined ? [] : [table];
    });
  }

  /** One that could not be opened is tried again with the next question. */
  #openLane(program: CarrierProgram): Promise<FrameCarrier> {
    this.#lane ??= this.#startLane(program).catch((error: unknown) => {
      this.#lane = undefined;
      throw error;
    });
    return this.#lane;
  }

  async #startLane({ url, settings }: CarrierProgram): Promise<FrameCarrier> {
    const { openCarrier } = (await import(url)) as { readonly openCarrier: OpenCarrier };
    const carrier = await openCarrier(settings);
    const lanes = new Lanes({
      carrier,
      nowMs: () => performance.now(),
      onRecords: (nodeId, records) => this.#fabric.fromNode(nodeId, records),
    });
    await lanes.listen();
    lanes.setPeers(this.#peers);
    this.#lanes = lanes;
    return carrier;
  }
}

const at = process.argv.indexOf(switchKind.argument);
const socketPath = process.argv[at + 1];
if (at < 0 || socketPath === undefined) throw new Error(`usage: switch-main ${switchKind.argument} SOCKET`);
setPriority(niceness);
new SwitchProcess(socketPath).run();
