import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { formatIpv4, parseIpv4, Watch } from "@blixard/common";
import type { VmForward } from "@blixard/protocol";
import { afterEach, describe, expect, it } from "@jest/globals";
import { guestAddress, guestMac } from "../testing/frames.ts";
import { freePort } from "../testing/free-port.ts";
import { type Ipv4End, udpFrame } from "./ipv4-frame.ts";
import { readPacket } from "./packet.ts";
import { datagramBytesMax, flowIdleMs, UdpRelay, udpFlowsMax } from "./udp-relay.ts";
import { portForwardOf, userAddressesOf } from "./user-network.ts";

const addresses = userAddressesOf(guestAddress);
const gateway = "10.0.2.2";
const gatewayMac = "02:00:00:00:00:02";
const open: { close(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

interface Seen {
  readonly from: string;
  readonly fromPort: number;
  readonly port: number;
  readonly text: string;
}

/** A relay, the frames that the guest got from it, and the time there. */
class Relay {
  readonly relay: UdpRelay;
  readonly seen = new Watch<readonly Seen[]>([]);
  nowMs = 0;
  isFull = false;

  constructor(...forwards: readonly Omit<VmForward, "protocol">[]) {
    const ports = forwards.map((forward) => portForwardOf({ ...forward, protocol: "udp" }));
    const deps = { nowMs: () => this.nowMs, isFull: () => this.isFull, mac: guestMac, addresses };
    this.relay = new UdpRelay(ports, { ...deps, send: (frame) => this.#see(frame) });
    open.push(this.relay);
    this.relay.look();
  }

  /** Whether a datagram of the guest is for somebody outside. */
  says(text: string, to: { readonly address?: string; readonly port: number }, more: Partial<Ipv4End> = {}): boolean {
    const { address = gateway, port } = to;
    const from = { mac: guestMac, address: addresses.guest, port: 53, ...more };
    const target = { mac: gatewayMac, address: parseIpv4(address), port };
    return this.relay.takes(udpFrame(from, target, Buffer.from(text)));
  }

  #see(frame: Buffer): void {
    const packet = readPacket(frame);
    if (packet?.type !== "ipv4" || packet.ports === undefined) throw new Error("no datagram");
    const { source, ports, contentOffset } = packet;
    const text = frame.toString("utf8", contentOffset + 8);
    const from = { from: formatIpv4(source), fromPort: ports.source };
    this.seen.update((before) => [...before, { ...from, port: ports.destination, text }]);
  }
}

class Client {
  readonly socket: Socket = createSocket("udp4");
  readonly heard = new Watch<readonly string[]>([]);
  port = 0;

  static async open(address = "127.0.0.1"): Promise<Client> {
    const client = new Client();
    open.push(client.socket);
    client.socket.on("message", (content, { port }) =>
      client.heard.update((before) => [...before, `${port} ${content.toString()}`]),
    );
    client.socket.bind(0, address);
    await once(client.socket, "listening");
    client.port = client.socket.address().port;
    return client;
  }

  send(port: number, text: string | Uint8Array, address = "127.0.0.1"): void {
    this.socket.send(text, port, address);
  }
}

describe("UdpRelay", () => {
  it("carries datagrams in and the answers back, from the port to which they came", async () => {
    const [one, other] = [await freePort(), await freePort()];
    const relay = new Relay({ port: one, to: 53 }, { port: other, to: 54, listen: "all" });
    const [client, second] = [await Client.open(), await Client.open()];
    client.send(one, "who");
    second.send(other, "what");
    const seen = await relay.seen.until((all) => all.length === 2);
    expect([...seen].sort((a, b) => a.port - b.port)).toEqual([
      { from: gateway, fromPort: client.port, port: 53, text: "who" },
      { from: gateway, fromPort: second.port, port: 54, text: "what" },
    ]);
    expect(relay.says("me", { port: client.port })).toBe(true);
    expect(relay.says("that", { port: second.port }, { port: 54 })).toBe(true);
    expect(await client.heard.until((all) => all.length > 0)).toEqual([`${one} me`]);
    expect(await second.heard.until((all) => all.length > 0)).toEqual([`${other} that`]);
  });

  it("takes nothing of the guest that answers nobody, and so leaves it to the wall", async () => {
    const port = await freePort();
    const relay = new Relay({ port, to: 53 });
    const client = await Client.open();
    const service = await Client.open();
    client.send(port, "who");
    await relay.seen.until((all) => all.length === 1);
    expect(relay.says("x", { port: service.port })).toBe(false);
    expect(relay.says("x", { port: client.port, address: "127.0.0.1" })).toBe(false);
    expect(relay.says("x", { port: client.port }, { port: 54 })).toBe(false);
    expect(relay.says("x", { port: client.port }, { mac: "02:00:00:00:00:0b" })).toBe(false);
    expect(relay.says("x", { port: client.port }, { address: parseIpv4("10.0.2.16") })).toBe(false);
    relay.nowMs = flowIdleMs - 1;
    expect(relay.says("still", { port: client.port })).toBe(true);
    relay.nowMs = flowIdleMs;
    expect(relay.says("late", { port: client.port })).toBe(false);
    expect(await client.heard.until((all) => all.length > 0)).toEqual([`${port} still`]);
  });

  it("lets only the sources in that a port admits, each port by itself", async () => {
    const [some, all] = [await freePort(), await freePort()];
    const relay = new Relay(
      { port: some, to: 53, listen: "all", sources: ["127.0.0.9/32"] },
      { port: all, to: 53, listen: "all" },
    );
    const [admitted, other] = [await Client.open("127.0.0.9"), await Client.open()];
    other.send(some, "no");
    admitted.send(some, "yes");
    other.send(all, "yes");
    const seen = await relay.seen.until((now) => now.length === 2);
    expect(seen.map(({ text, fromPort }) => [text, fromPort]).sort()).toEqual(
      [
        ["yes", admitted.port],
        ["yes", other.port],
      ].sort(),
    );
  });

  it("loses what does not fit into a frame, and what a guest has no room for", async () => {
    const port = await freePort();
    const relay = new Relay({ port, to: 53 });
    const client = await Client.open();
    client.send(port, Buffer.alloc(datagramBytesMax + 1, "a"));
    client.send(port, Buffer.alloc(datagramBytesMax, "b"));
    expect((await relay.seen.until((all) => all.length === 1))[0]?.text).toBe("b".repeat(datagramBytesMax));
    // A length that is a lie is not sent on, and is for nobody else either.
    const lie = udpFrame(
      { mac: guestMac, address: addresses.guest, port: 53 },
      { mac: gatewayMac, address: addresses.gateway, port: client.port },
      Buffer.from("abc"),
    );
    lie.writeUInt16BE(4_000, 14 + 20 + 4);
    expect(relay.relay.takes(lie)).toBe(true);
    relay.says("end", { port: client.port });
    expect(await client.heard.until((all) => all.length > 0)).toEqual([`${port} end`]);
  });

  it("remembers a bounded number of those outside, and forgets who was silent for longest", async () => {
    const port = await freePort();
    const relay = new Relay({ port, to: 53 });
    const first = await Client.open();
    const clients = [first, ...(await Promise.all(Array.from({ length: udpFlowsMax }, () => Client.open())))];
    for (const [at, client] of clients.entries()) {
      client.send(port, "a");
      await relay.seen.until((all) => all.length === at + 1);
    }
    const remembered = clients.map((client) => relay.says("b", { port: client.port }));
    expect([remembered.indexOf(true), remembered.lastIndexOf(false)]).toEqual([1, 0]);
  });

  it("says so while its port is taken by somebody else, and takes it when it is free", async () => {
    const taker = await Client.open();
    const relay = new Relay({ port: taker.port, to: 53 });
    const client = await Client.open();
    const problem = new Watch<string | undefined>(undefined);
    const looking = setInterval(() => {
      relay.nowMs += 100;
      relay.relay.look();
      problem.set(relay.relay.problem);
    }, 5);
    open.push({ close: () => clearInterval(looking) });
    expect(await problem.until((now) => now !== undefined)).toContain(`UDP port 127.0.0.1:${taker.port}`);
    const shown = { port: taker.port, listen: "127.0.0.1", protocol: "udp" };
    expect(relay.relay.forwards).toEqual([{ ...shown, state: "closed", why: problem.value }]);
    taker.socket.close();
    open.splice(open.indexOf(taker.socket), 1);
    await problem.until((now) => now === undefined);
    expect(relay.relay.forwards).toEqual([{ ...shown, state: "open" }]);
    client.send(taker.port, "who");
    await relay.seen.until((all) => all.length === 1);
  });
});
