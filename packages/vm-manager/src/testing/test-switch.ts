/** A switch without a node, and network cards without a VM: to measure what frames cost. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Clock } from "@blixard/common";
import { FrameReader, lengthBytes, withLength } from "../network/frame-reader.ts";
import type { CarrierEndpoint, CarrierProgram } from "../network/private/frame-carrier.ts";
import type { LanePeer } from "../network/private/lanes.ts";
import type { NetworksOfNode } from "../network/private/network-table.ts";
import { type SwitchAnswers, type SwitchQuestion, switchKind } from "../network/switch-messages.ts";
import { endHelpers, type HelperConnection, startHelper } from "../process/helper-process.ts";
import { identifyProcess } from "../process/process-identity.ts";

const answerMs = 10_000;

/** What the process of a VM is to a switch. */
export class TestCard {
  readonly socketPath: string;
  /** Told of each frame that comes. */
  onFrame: (frame: Buffer) => void = () => {};
  readonly #server: Server;
  #socket: Socket | undefined;

  private constructor(socketPath: string) {
    this.socketPath = socketPath;
    this.#server = createServer((socket) => {
      const reader = new FrameReader();
      this.#socket = socket;
      socket.on("data", (data: Buffer) => {
        for (const frame of reader.push(data)) this.onFrame(frame.subarray(lengthBytes));
      });
      socket.on("error", () => socket.destroy());
    });
  }

  static async open(socketPath: string): Promise<TestCard> {
    const card = new TestCard(socketPath);
    card.#server.listen(socketPath);
    await once(card.#server, "listening");
    return card;
  }

  /** Resolves when more may come; frames that come before the switch has connected are lost. */
  async send(frames: readonly Buffer[]): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || socket.write(Buffer.concat(frames.map(withLength)))) return;
    await once(socket, "drain");
  }

  get isConnected(): boolean {
    return this.#socket !== undefined;
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }
}

export class TestSwitch {
  readonly #socketPath: string;
  readonly #connection: HelperConnection<SwitchQuestion, SwitchAnswers>;

  private constructor(socketPath: string, connection: HelperConnection<SwitchQuestion, SwitchAnswers>) {
    this.#socketPath = socketPath;
    this.#connection = connection;
  }

  static async start(clock: Clock, directory: string): Promise<TestSwitch> {
    const socketPath = join(directory, "switch");
    const place = { clock, socketPath };
    return new TestSwitch(socketPath, await startHelper(switchKind, place, { directory }));
  }

  async setNetworks(networks: NetworksOfNode): Promise<void> {
    await this.#connection.ask({ type: "networks", networks }, answerMs);
  }

  /** A port for the card, which lives as long as this process. */
  async connect(card: TestCard, port: { readonly networkId: string; readonly mac: string; readonly epoch: number }) {
    const vm = await identifyProcess(process.pid);
    if (vm === undefined) throw new Error("this process is not there");
    const config = { type: "private", vm, socketPath: card.socketPath, ...port } as const;
    await this.#connection.ask({ type: "set", vmId: randomUUID(), ports: [config] }, answerMs);
  }

  async endpoint(carrier: CarrierProgram): Promise<CarrierEndpoint> {
    return await this.#connection.ask({ type: "lane", carrier }, answerMs);
  }

  async setPeers(peers: readonly LanePeer[]): Promise<void> {
    await this.#connection.ask({ type: "peers", peers }, answerMs);
  }

  async drops(): Promise<Readonly<Record<string, number>>> {
    return (await this.#connection.ask({ type: "status" }, answerMs)).drops;
  }

  async close(): Promise<void> {
    this.#connection.close();
    await endHelpers(switchKind, { socketPath: this.#socketPath });
  }
}
