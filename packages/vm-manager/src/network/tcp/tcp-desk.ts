/** The connections that the switch has opened into one network card, and which frames of the guest are for them. */
import { randomInt } from "node:crypto";
import { arpAnswer } from "../arp.ts";
import type { Ipv4End } from "../ipv4-frame.ts";
import { macAt, readPacket } from "../packet.ts";
import { TcpConnection, type TcpConnectionEvents } from "./tcp-connection.ts";
import { type ReceivedSegment, readSegment, tcpFrame } from "./tcp-segment.ts";

const openMs = 5_000;
const firstPort = 1_024;
const portsEnd = 65_536;
export const connectionsMax = 256;

export interface TcpDeskDeps {
  readonly send: (frame: Buffer) => void;
  readonly isFull: () => boolean;
  /** An address that is nobody else's in the network of the card. */
  readonly own: Omit<Ipv4End, "port">;
  readonly guest: Omit<Ipv4End, "port">;
}

export class TcpDesk {
  readonly #deps: TcpDeskDeps;
  readonly #connections = new Map<number, { readonly connection: TcpConnection; readonly port: number }>();
  #next = randomInt(firstPort, portsEnd);

  constructor(deps: TcpDeskDeps) {
    this.#deps = deps;
  }

  /** Opens a connection to a port of the guest. @throws when there are too many */
  connect(port: number, events: TcpConnectionEvents): TcpConnection {
    if (this.#connections.size >= connectionsMax) {
      throw new Error(`${connectionsMax} connections into it are open already`);
    }
    do this.#next = this.#next + 1 < portsEnd ? this.#next + 1 : firstPort;
    while (this.#connections.has(this.#next));
    const ownPort = this.#next;
    const { own, guest, ...wire } = this.#deps;
    const ends = { own: { ...own, port: ownPort }, guest: { ...guest, port } };
    const connection = new TcpConnection(
      { ...wire, ...ends, sequence: randomInt(2 ** 32), openMs },
      {
        ...events,
        onOver: (problem) => {
          this.#connections.delete(ownPort);
          events.onOver(problem);
        },
      },
    );
    this.#connections.set(ownPort, { connection, port });
    return connection;
  }

  /** Whether the frame of the guest was for the switch, and so for nobody else. */
  takes(frame: Buffer): boolean {
    const { own, guest, send } = this.#deps;
    const packet = readPacket(frame);
    if (packet === undefined || macAt(frame, 6) !== guest.mac) return false;
    if (packet.type === "arp") {
      if (!packet.asks || packet.target !== own.address) return false;
      send(arpAnswer(own, { mac: guest.mac, address: packet.sender }));
      return true;
    }
    if (packet.destination !== own.address) return false;
    const segment = readSegment(frame);
    if (segment === undefined || segment.source.address !== guest.address) return true;
    const found = this.#connections.get(segment.destination.port);
    if (found !== undefined && found.port === segment.source.port) found.connection.receive(segment);
    else this.#refuse(segment);
    return true;
  }

  /** The card takes more again. */
  pump(): void {
    for (const { connection } of this.#connections.values()) connection.pump();
  }

  /** The card is closed. */
  close(): void {
    for (const { connection } of [...this.#connections.values()]) connection.close("its network card has gone");
  }

  /** What belongs to no connection, such as one of a switch before this one, ends in the guest too (RFC 9293, 3.5.2). */
  #refuse({ source, destination, flags, sequence, acknowledged, content }: ReceivedSegment): void {
    const { own, guest, send, isFull } = this.#deps;
    if (flags.includes("rst") || isFull()) return;
    const length = content.length + (flags.includes("syn") ? 1 : 0) + (flags.includes("fin") ? 1 : 0);
    const numbers = flags.includes("ack")
      ? { sequence: acknowledged, acknowledged: 0, flags: ["rst"] as const }
      : { sequence: 0, acknowledged: sequence + length, flags: ["rst", "ack"] as const };
    const [from, to] = [
      { ...own, port: destination.port },
      { ...guest, port: source.port },
    ];
    send(tcpFrame(from, to, { ...numbers, content: Buffer.alloc(0) }));
  }
}
