import { describe, expect, it } from "@jest/globals";
import { arpFrame, guestAddress, guestMac, ipv4Frame } from "../../testing/frames.ts";
import { readPacket } from "../packet.ts";
import { switchAddressOf } from "../user-addresses.ts";
import { userAddressesOf } from "../user-network.ts";
import type { TcpConnection } from "./tcp-connection.ts";
import { connectionsMax, TcpDesk } from "./tcp-desk.ts";
import { type ReceivedSegment, readSegment, type TcpFlag, tcpFrame } from "./tcp-segment.ts";

const addresses = userAddressesOf(guestAddress);
const own = { mac: "02:00:00:00:00:02", address: switchAddressOf(addresses) };
const guest = { mac: guestMac, address: addresses.guest };

const empty = Buffer.alloc(0);

/** A guest that listens on port 80, takes what comes in order, and loses what the test wants. */
class Guest {
  readonly desk: TcpDesk;
  readonly seen: ReceivedSegment[] = [];
  isFull = false;
  /** Which segments are lost on the way to the guest. */
  loses: (segment: ReceivedSegment) => boolean = () => false;
  taken = empty;
  ended = false;
  window = 60_000;
  #port = 0;
  #expected = 0;
  #sequence = 4_294_967_000;

  constructor() {
    this.desk = new TcpDesk({ own, guest, send: (frame) => this.#receive(frame), isFull: () => this.isFull });
  }

  say(flags: readonly TcpFlag[], content = empty, more: { readonly sequence?: number; readonly port?: number } = {}) {
    const { sequence = this.#sequence, port = 80 } = more;
    if (more.sequence === undefined) {
      const extra = flags.includes("syn") || flags.includes("fin") ? 1 : 0;
      this.#sequence = (this.#sequence + content.length + extra) >>> 0;
    }
    const numbers = { sequence, acknowledged: this.#expected, window: this.window };
    const syn = flags.includes("syn") ? { mss: 1_000 } : {};
    return this.desk.takes(
      tcpFrame({ ...guest, port }, { ...own, port: this.#port }, { ...numbers, flags, content, ...syn }),
    );
  }

  get next(): number {
    return this.#sequence;
  }

  #receive(frame: Buffer): void {
    const segment = readSegment(frame);
    if (segment === undefined) throw new Error("a connection writes whole segments");
    this.seen.push(segment);
    if (!this.loses(segment)) setImmediate(() => this.#take(segment));
  }

  #take({ source, flags, sequence, content }: ReceivedSegment): void {
    if (flags.includes("rst")) return;
    this.#port = source.port;
    if (flags.includes("syn")) {
      this.#expected = (sequence + 1) >>> 0;
      this.say(["syn", "ack"]);
      return;
    }
    const ends = flags.includes("fin");
    if (content.length === 0 && !ends && sequence === this.#expected) return;
    if (sequence === this.#expected && content.length <= this.window) {
      this.taken = Buffer.concat([this.taken, content]);
      this.#expected = (this.#expected + content.length + (ends ? 1 : 0)) >>> 0;
      this.ended ||= ends;
    }
    this.say(["ack"]);
  }
}

interface Told {
  readonly connection: TcpConnection;
  content: Buffer;
  opened: boolean;
  ended: boolean;
  drained: number;
  over: { readonly problem: string | undefined } | undefined;
}

function connect({ desk }: Guest, port = 80): Told {
  const told: Omit<Told, "connection"> = { content: empty, opened: false, ended: false, drained: 0, over: undefined };
  const connection = desk.connect(port, {
    onOpen: () => Object.assign(told, { opened: true }),
    onContent: (content) => Object.assign(told, { content: Buffer.concat([told.content, content]) }),
    onEnd: () => Object.assign(told, { ended: true }),
    onDrain: () => Object.assign(told, { drained: told.drained + 1 }),
    onOver: (problem) => Object.assign(told, { over: { problem } }),
  });
  return Object.assign(told, { connection });
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((wake) => setTimeout(wake, 5));
}

const bytes = (length: number) => Buffer.from(Array.from({ length }, (_, at) => at % 251));

describe("connections of the switch into a guest", () => {
  it("carry bytes both ways, and end one way at a time", async () => {
    const server = new Guest();
    const told = connect(server);
    await until(() => told.opened);
    const sent = bytes(200_000);
    for (let from = 0; from < sent.length; from += 20_000) told.connection.write(sent.subarray(from, from + 20_000));
    told.connection.end();
    await until(() => server.ended);
    expect(server.taken.equals(sent)).toBe(true);
    expect(Math.max(...server.seen.map(({ content }) => content.length))).toBe(1_000);
    server.say(["ack"], Buffer.from("an answer"));
    server.say(["fin", "ack"], Buffer.from(", and its end"));
    await until(() => told.over !== undefined);
    expect(told).toMatchObject({ ended: true, over: { problem: undefined }, drained: 0 });
    expect(told.content.toString()).toBe("an answer, and its end");
    // Nothing is known of it any more: what comes late is refused.
    expect(server.say(["ack"], Buffer.from("late"))).toBe(true);
    expect(server.seen.at(-1)?.flags).toEqual(["rst"]);
  });

  it("make up for what is lost", async () => {
    const server = new Guest();
    let count = 0;
    server.loses = ({ flags }) => (flags.includes("rst") ? false : ++count % 7 === 1);
    const told = connect(server);
    await until(() => told.opened);
    const sent = bytes(50_000);
    told.connection.write(sent);
    told.connection.end();
    await until(() => server.ended);
    expect(server.taken.equals(sent)).toBe(true);
    // The other way: out of order and again.
    const [first, second] = [bytes(500), Buffer.from("second")];
    const at = server.next;
    server.say(["ack"], second, { sequence: at + 500 });
    expect(told.content).toHaveLength(0);
    server.say(["ack"], first);
    server.say(["ack"], Buffer.concat([first, second]), { sequence: at });
    expect(told.content.equals(Buffer.concat([first, second]))).toBe(true);
  });

  it("make a writer wait, and ask a guest whose window is closed", async () => {
    const server = new Guest();
    server.window = 2_000;
    const told = connect(server);
    await until(() => told.opened);
    server.window = 0;
    expect(told.connection.write(bytes(127 * 1024))).toBe(true);
    expect(told.connection.write(bytes(2 * 1024))).toBe(false);
    await until(() => server.seen.length >= 6);
    expect(server.taken.length).toBe(0);
    expect(server.seen.at(-1)?.content).toHaveLength(0);
    expect(told.drained).toBe(0);
    server.window = 60_000;
    server.say(["ack"]);
    await until(() => server.taken.length === 129 * 1024);
    await until(() => told.drained === 1);
  });

  it("send nothing while the card is full, and go on when it is not", async () => {
    const server = new Guest();
    const told = connect(server);
    await until(() => told.opened);
    server.isFull = true;
    told.connection.write(bytes(100));
    expect(server.seen.filter(({ content }) => content.length > 0)).toEqual([]);
    server.isFull = false;
    server.desk.pump();
    await until(() => server.taken.length === 100);
  });

  it("let the guest send no more than somebody takes", async () => {
    const server = new Guest();
    const told = connect(server);
    await until(() => told.opened);
    for (let count = 0; count < 70; count++)
      server.say(["ack"], bytes(1_000), { sequence: (server.next + count * 1_000) >>> 0 });
    await until(() => server.seen.at(-1)?.window === 535);
    expect(told.content).toHaveLength(65_000);
    told.connection.took(65_000);
    expect(server.seen.at(-1)).toMatchObject({ window: 65_535, acknowledged: (server.next + 65_000) >>> 0 });
  });

  it("say that a port is closed, that the guest has reset them, and that the card has gone", async () => {
    const closed = new Guest();
    closed.loses = (segment) => {
      const answer = { sequence: 0, acknowledged: (segment.sequence + 1) >>> 0, flags: ["rst", "ack"] as const };
      const ends = [
        { ...guest, port: 80 },
        { ...own, port: segment.source.port },
      ] as const;
      setImmediate(() => closed.desk.takes(tcpFrame(...ends, { ...answer, content: empty })));
      return true;
    };
    const refused = connect(closed);
    await until(() => refused.over !== undefined);
    expect(refused).toMatchObject({ opened: false, over: { problem: "the connection is refused" } });

    const server = new Guest();
    const [reset, gone] = [connect(server), connect(new Guest())];
    await until(() => reset.opened && gone.opened);
    // Of a neighbour, of another port, and far from what is expected.
    expect(server.say(["rst"], empty, { port: 81 })).toBe(true);
    server.say(["rst"], empty, { sequence: (server.next + 100_000) >>> 0 });
    expect(reset.over).toBeUndefined();
    server.say(["rst"]);
    expect(reset.over).toEqual({ problem: "the guest has reset the connection" });
    gone.connection.close("nobody wants it any more");
    expect(gone.over).toEqual({ problem: "nobody wants it any more" });
  });

  it("are bounded, and end with the card", () => {
    const { desk, ...server } = new Guest();
    const all = Array.from({ length: connectionsMax }, () => connect({ desk, ...server } as unknown as Guest));
    expect(() => connect({ desk, ...server } as unknown as Guest)).toThrow("256 connections into it are open already");
    desk.close();
    expect(all.every(({ over }) => over?.problem === "its network card has gone")).toBe(true);
  });

  it("leave every frame alone that is not for the switch", () => {
    const sent: Buffer[] = [];
    const desk = new TcpDesk({ own, guest, send: (frame) => void sent.push(frame), isFull: () => false });
    expect(desk.takes(ipv4Frame())).toBe(false);
    expect(desk.takes(ipv4Frame({ to: "10.0.2.1", mac: "02:00:00:00:00:99" }))).toBe(false);
    expect(desk.takes(arpFrame(guestAddress, "10.0.2.2"))).toBe(false);
    expect(sent).toEqual([]);
    expect(desk.takes(arpFrame(guestAddress, "10.0.2.1"))).toBe(true);
    expect(readPacket(sent[0] ?? empty)).toMatchObject({
      type: "arp",
      asks: false,
      senderMac: own.mac,
      target: guest.address,
    });
    // A connection of the guest's own finds nobody.
    expect(desk.takes(ipv4Frame({ to: "10.0.2.1" }))).toBe(true);
    expect(readSegment(sent[1] ?? empty)?.flags).toEqual(["rst", "ack"]);
    expect(desk.takes(ipv4Frame({ to: "10.0.2.1", protocol: "icmp" }))).toBe(true);
    expect(sent).toHaveLength(2);
  });
});
