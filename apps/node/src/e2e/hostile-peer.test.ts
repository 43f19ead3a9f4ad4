import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectClient } from "@blixard/client";
import { seededRandom } from "@blixard/common";
import { ProcessNode } from "@blixard/testing";
import type { Connection, Lane } from "@blixard/transport";
import { createIrohAdapter, type IrohAdapter } from "@blixard/transport/iroh";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

const seed = 20_261_123;

/** Each way of misbehaving is followed by the same question: does the node still serve, in the same term? */
describe(`a hostile peer (seed ${seed})`, () => {
  const random = seededRandom(seed);
  let root: string;
  let node: ProcessNode;
  let stranger: IrohAdapter;
  let term: number;
  let client: ReturnType<typeof connectClient>;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-hostile-"));
    node = await ProcessNode.start({
      binary: builtBinary(),
      id: 1,
      dataDir: join(root, "1"),
      flags: ["--vm-driver", "fake"],
    });
    client = connectClient({ addresses: [node.ready.http], token: await node.token() });
    await client.kv.put("before", "1");
    term = (await client.status()).term;
    stranger = createIrohAdapter({
      secretKey: random.bytes(32),
      bind: "127.0.0.1:0",
      relay: false,
      discovery: false,
    });
    await stranger.bind();
  });

  afterAll(async () => {
    client?.close();
    await stranger?.close();
    await node?.stop();
    await rm(root, { recursive: true, force: true });
  });

  const dial = (lane: Lane): Promise<Connection> =>
    stranger.connect({ endpointId: node.ready.endpointId, addresses: [node.ready.bind] }, lane, {
      signal: AbortSignal.timeout(30_000),
    });

  async function stillServes(): Promise<void> {
    expect(node.isRunning).toBe(true);
    await client.kv.put("after", String(random.next()));
    const status = await client.status();
    expect(status).toMatchObject({ term, role: "leader" });
    expect(status.members).toHaveLength(1);
  }

  it("that finishes the Iroh handshake on the Raft lane is closed and counted", async () => {
    const connection = await dial("blixard/raft/1");
    // The stranger may be closed before it opens a stream, or while it writes; both are the refusal that is wanted.
    await connection
      .openStream()
      .then((stream) => stream.write(new Uint8Array(64)))
      .catch(() => {});
    expect(await connection.closed).toBeTruthy();
    await stillServes();
    const metrics = await (await fetch(`${node.ready.http}/metrics`, { headers: await authorization() })).text();
    expect(metrics).toMatch(/blixard_transport_\w+\{[^}]*unknown_peer[^}]*\} [1-9]/);
  });

  it.each([
    ["a frame that claims 4 GiB", () => frame(0xffff_ffff, new Uint8Array(16))],
    ["a frame over the limit", () => frame(64 * 1024 * 1024, new Uint8Array(1024))],
    ["garbage", () => random.bytes(4096)],
    ["a wrong checksum", () => frame(16, random.bytes(16))],
  ])("that sends %s on the RPC lane is closed", async (_what, bytes) => {
    const connection = await dial("blixard/rpc/1");
    const stream = await connection.openStream();
    await stream.write(bytes()).catch(() => {});
    expect(await connection.closed).toBeTruthy();
    await stillServes();
  });

  it("that sends garbage datagrams and garbage over TCP to the bind port is ignored", async () => {
    const { hostname, port } = new URL(`udp://${node.ready.bind}`);
    const socket = createSocket("udp4");
    for (let n = 0; n < 500; n++) {
      await new Promise((resolve) => socket.send(random.bytes(1 + (n % 1200)), Number(port), hostname, resolve));
    }
    socket.close();
    for (let n = 0; n < 20; n++) {
      const tcp = connect(Number(port), hostname);
      tcp.on("error", () => {});
      tcp.end(random.bytes(512));
      tcp.resume();
      await once(tcp, "close");
    }
    await stillServes();
  });

  async function authorization(): Promise<Record<string, string>> {
    return { authorization: `Bearer ${await node.token()}` };
  }
});

/** A frame header that claims `length` bytes, with the checksum 0. */
function frame(length: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + payload.length);
  bytes.set([0x42, 0x58, 1, 0]);
  new DataView(bytes.buffer).setUint32(4, length);
  bytes.set(payload, 12);
  return bytes;
}
