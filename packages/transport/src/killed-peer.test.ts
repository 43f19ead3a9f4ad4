/** A peer whose process is killed over real Iroh: no goodbye, and the transport below notices only after 30 s. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { toHex } from "@blixard/common";
import { endpointIdOfSeed } from "@blixard/identity";
import { afterEach, describe, expect, it } from "@jest/globals";
import { encodeFrame } from "./frames/frame.ts";
import { createIrohAdapter } from "./iroh/index.ts";
import { encodeHello } from "./session/hello.ts";
import { startNode, stateOf, until } from "./testing/transport-fixture.ts";

const peerSeed = new Uint8Array(32).fill(72);

/** A peer in plain JavaScript, so that it runs as a process without a build: it greets, and sends heartbeats. */
const peerProgram = `
  const iroh = (await import("@number0/iroh")).default;
  const [seed, lane, hello, beat] = process.argv.slice(1).map((hex) => [...Buffer.from(hex, "hex")]);
  const builder = iroh.Endpoint.builder();
  builder.applyMinimal();
  builder.relayMode(iroh.RelayMode.disabled());
  builder.secretKey(seed);
  builder.alpns([lane]);
  builder.bindAddr("127.0.0.1:0");
  builder.bindAddr("[::1]:0");
  const endpoint = await builder.bind();
  console.log(endpoint.boundSockets().find((socket) => socket.startsWith("127.")));
  for (;;) {
    const connection = await (await (await endpoint.acceptNext()).accept()).connect();
    void (async () => {
      const { send } = await connection.openBi();
      await send.writeAll(hello);
      for (;;) {
        await send.writeAll(beat);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })().catch(() => {});
  }
`;

describe("createTransport with a killed peer over iroh", () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
  });

  /** Starts a life of the peer; resolves with its address. */
  const startPeer = async (instance: number) => {
    const options = { frameBytesMax: 1000, compress: false };
    const frame = (payload: Uint8Array, hello: boolean) =>
      toHex(encodeFrame({ streamClass: "urgent", hello, payload }, options));
    const greeting = encodeHello({ nodeId: 2, toNodeId: 1, instance, sequence: 0 });
    const lane = toHex(new TextEncoder().encode("blixard/raft/1"));
    const parameters = [toHex(peerSeed), lane, frame(greeting, true), frame(new Uint8Array(), false)];
    const child = spawn(process.execPath, ["--input-type=module", "-e", peerProgram, ...parameters], {
      cwd: new URL(".", import.meta.url),
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    for await (const line of createInterface({ input: child.stdout })) return { child, address: line };
    throw new Error("the peer did not start");
  };

  it("notices after a few heartbeats and finds the peer again at another port", async () => {
    const adapter = createIrohAdapter({
      secretKey: new Uint8Array(32).fill(71),
      bind: "127.0.0.1:0",
      relay: false,
      discovery: false,
    });
    const node = await startNode(1, { adapter });
    const peer = (address: string) => ({ nodeId: 2, endpointId: endpointIdOfSeed(peerSeed), addresses: [address] });
    const first = await startPeer(1);
    node.transport.setPeers([peer(first.address)]);
    await until(() => stateOf(node, 2) === "ready");
    first.child.kill("SIGKILL");
    await node.unreachable.until((all) => all.includes(2));
    expect(node.transport.sessions()[0]?.lastError).toMatch(/heartbeats/);
    const second = await startPeer(2);
    expect(second.address).not.toBe(first.address);
    node.transport.setPeers([peer(second.address)]);
    await until(() => stateOf(node, 2) === "ready");
    second.child.kill("SIGKILL");
    await node.transport.close();
  });
});
