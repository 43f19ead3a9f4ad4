/** Strangers who open more connections than a node has places for shut no door: not HTTP, not the bind port, not gRPC. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { connectClient } from "@blixard/client";
import { hostOf } from "@blixard/common";
import { httpLimits } from "@blixard/http-api";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

/** What one host opens, and holds until the end. */
const silentMax = httpLimits.strangersMax + 50;
const anonymousMax = 132;
/** A stranger whose connection was ended opens another one. */
const againMs = 100;

describe("while strangers hold as many connections as they can", () => {
  const sockets: Socket[] = [];
  let isOver = false;
  let root: string;
  let node: ProcessNode;
  let member: ProcessNode;
  let client: ReturnType<typeof connectClient>;
  const flags = ["--vm-driver", "fake", "--transport", "grpc"];

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-doors-"));
    const binary = builtBinary();
    node = await ProcessNode.start({ binary, id: 1, dataDir: join(root, "1"), flags });
    member = await ProcessNode.start({ binary, id: 2, dataDir: join(root, "2"), join: node.ready.bind, flags });
    client = connectClient({ addresses: [node.ready.http], token: await node.token() });
  });

  afterAll(async () => {
    isOver = true;
    for (const socket of sockets) socket.destroy();
    client?.close();
    await member?.stop();
    await node?.stop();
    await rm(root, { recursive: true, force: true });
  });

  const at = (address: string) => ({ host: hostOf(address), port: Number(address.replace(/^.*:/, "")) });

  /** Opens connections a few at a time, so that none is lost in the queue of the system. */
  async function flood(count: number, open: () => Socket, ready: "connect" | "secureConnect"): Promise<void> {
    for (let opened = 0; opened < count; opened += 50) {
      const some = Array.from({ length: Math.min(50, count - opened) }, () => open().on("error", () => {}));
      sockets.push(...some);
      await Promise.all(some.map((socket) => Promise.race([once(socket, ready), once(socket, "close")])));
      for (const socket of some) socket.resume();
    }
  }

  /** Holds them for as long as the test runs, whatever the node does. */
  async function holdAnonymous(address: string): Promise<void> {
    const open = (): Socket => {
      const socket = anonymous(address, "h2")();
      socket.once("close", () => {
        if (!isOver)
          setTimeout(
            () =>
              sockets.push(
                open()
                  .on("error", () => {})
                  .resume(),
              ),
            againMs,
          ).unref();
      });
      return socket;
    };
    await flood(anonymousMax, open, "secureConnect");
  }

  const anonymous = (address: string, protocol: string) => () =>
    connectTls({ ...at(address), rejectUnauthorized: false, ALPNProtocols: [protocol] });

  it("the HTTP API serves, over its port and over the bind port", async () => {
    const plain = at(new URL(node.ready.http).host);
    await flood(silentMax, () => connectTcp(plain), "connect");
    await client.kv.put("flooded", "1");
    await flood(silentMax, anonymous(node.ready.bind, "http/1.1"), "secureConnect");
    const overTls = connectClient({ addresses: [node.ready.bind], token: await node.token() });
    expect((await overTls.kv.get("flooded"))?.value).toBe("1");
    overTls.close();
    const metrics = await (
      await fetch(`${node.ready.http}/metrics`, { headers: { authorization: `Bearer ${await node.token()}` } })
    ).text();
    expect(metrics).toMatch(/blixard_connections_evicted_total\{door="http_stranger"\} [1-9]/);
  });

  it("a member gets in over gRPC, and whoever has a ticket", async () => {
    await holdAnonymous(node.ready.bind);
    member = await member.restart();
    // Two voters: it is written only when the member is back.
    await client.kv.put("flooded", "2");
    // The ticket names both.
    await holdAnonymous(member.ready.bind);
    const { ticket } = await client.tickets.create({ role: "worker" });
    const joiner = await ProcessNode.start({
      binary: builtBinary(),
      id: 3,
      dataDir: join(root, "3"),
      join: ticket,
      flags,
    });
    expect((await client.status()).members.map(({ id }) => id)).toEqual([1, 2, 3]);
    await joiner.stop();
  });
});
