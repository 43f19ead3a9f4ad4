import { once } from "node:events";
import { Socket } from "node:net";
import { connect as connectTls, createSecureContext, TLSSocket } from "node:tls";
import { hostOf, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { createNodeCertificate, createTlsListener, type NodeCertificate } from "@blixard/identity";
import { Client, credentials, Metadata, type ServiceDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterEach, describe, expect, it } from "@jest/globals";
import { protoPath } from "grpc-health-check";
import { describeTransportAdapter } from "../testing/index.ts";
import type { Connection, Lane, TransportAdapter } from "../transport-types.ts";
import { createGrpcAdapter } from "./index.ts";

const optionsOf = (number: number) => ({ clock: systemClock, secretKey: new Uint8Array(32).fill(number) });

describeTransportAdapter({ describe, it, expect }, "grpc", {
  create: async (number) => createGrpcAdapter({ ...optionsOf(number), bind: "127.0.0.1:0" }),
  deadAddress: () => "127.0.0.1:9",
});

describe("createGrpcAdapter", () => {
  const adapters: TransportAdapter[] = [];
  const clients: Client[] = [];
  const start = async (onConnection: (connection: Connection) => void = () => {}) => {
    const adapter = createGrpcAdapter({ ...optionsOf(1), bind: "127.0.0.1:0" });
    adapters.push(adapter);
    await adapter.listen(onConnection);
    return adapter;
  };
  /** What a client in another language does: it knows the `.proto` and nothing of ours; with or without a certificate. */
  const clientOf = (adapter: TransportAdapter, certificate?: NodeCertificate) => {
    const context = createSecureContext(certificate === undefined ? {} : { ...certificate, minVersion: "TLSv1.3" });
    const client = new Client(
      adapter.addresses()[0] ?? "",
      credentials.createFromSecureContext(context, { rejectUnauthorized: false }),
      { "grpc.ssl_target_name_override": "blixard" },
    );
    clients.push(client);
    return client;
  };
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await Promise.all(adapters.splice(0).map((adapter) => adapter.close()));
  });

  it("says PORT_IN_USE and gives its port back", async () => {
    const first = await start();
    const [bind = ""] = first.addresses();
    const second = createGrpcAdapter({ ...optionsOf(2), bind });
    await expect(second.bind()).rejects.toMatchObject({ code: "PORT_IN_USE" });
    await first.close();
    await second.listen(() => {});
    expect(second.addresses()).toEqual([bind]);
    await second.close();
  });

  it("answers health checks and reflection to a client without a certificate", async () => {
    const client = clientOf(await start());
    const health = loadSync(protoPath, { enums: String })["grpc.health.v1.Health"] as ServiceDefinition;
    expect(await unary(client, health["Check"], { service: "blixard.v1.Node" })).toEqual({ status: "SERVING" });
    const reflection = await firstAnswer(
      client,
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      listServices,
    );
    for (const name of ["blixard.v1.Node", "grpc.health.v1.Health"]) expect(String(reflection)).toContain(name);
  });

  it("refuses the node service to a client that proves no key, whatever it says of itself", async () => {
    let connections = 0;
    const adapter = await start(() => connections++);
    const metadata = new Metadata();
    metadata.set("blixard-lane", "blixard/raft/1");
    // The mark that tells connections apart inside the server; the first one, of the node below, is 1.
    metadata.set("blixard-socket", "1");
    await using node = disposable(createGrpcAdapter({ ...optionsOf(2), bind: "127.0.0.1:0" }));
    const signal = new AbortController().signal;
    await node.connect({ endpointId: adapter.endpointId, addresses: adapter.addresses() }, "blixard/rpc/1", { signal });
    const stranger = clientOf(adapter);
    for (const method of ["Connect", "Stream"] as const) {
      expect(await refusalOf(stranger, method, metadata)).toBe(status.UNAUTHENTICATED);
    }
    expect(connections).toBe(1);
  });

  it("says UNSUPPORTED_VERSION to a peer that asks for an unknown lane", async () => {
    const client = clientOf(await start(), createNodeCertificate(new Uint8Array(32).fill(3), { clock: systemClock }));
    const metadata = new Metadata();
    metadata.set("blixard-lane", "blixard/raft/99");
    expect(await refusalOf(client, "Connect", metadata)).toBe(status.FAILED_PRECONDITION);
  });

  it("says UNSUPPORTED_VERSION where the listener does not speak gRPC", async () => {
    const certificate = createNodeCertificate(new Uint8Array(32).fill(4), { clock: systemClock });
    const listener = await createTlsListener({ host: "127.0.0.1", port: 0, ...certificate }, (socket) => socket.end());
    const to = { endpointId: certificate.endpointId, addresses: [`127.0.0.1:${listener.port}`] };
    const dialler = await start();
    const dial = dialler.connect(to, "blixard/rpc/1", { signal: new AbortController().signal });
    await expect(dial).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
    await listener.close();
  });

  // Otherwise Node.js frees the TLS socket while it reads from it: with `node --stress-scavenge=50` it then ends by SIGSEGV.
  it("ends TLS before the socket below it, whoever ends a connection and when", async () => {
    const ended = await closedBelowFirst(async () => {
      const server = await start();
      const node = createGrpcAdapter({ ...optionsOf(2), bind: "127.0.0.1:0" });
      adapters.push(node);
      const dial = (endpointId: string, lane: Lane = "blixard/raft/1") =>
        node.connect({ endpointId, addresses: server.addresses() }, lane, { signal: AbortSignal.timeout(10_000) });
      await expect(dial("a".repeat(64))).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
      await expect(dial(server.endpointId, "other/1" as Lane)).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
      const [byUs, byThem] = [await dial(server.endpointId), await dial(server.endpointId)];
      byUs.close("done");
      await server.close();
      await byThem.closed;
      await node.close();
    });
    expect(ended.belowFirst).toBe(0);
    expect(ended.tls).toBeGreaterThan(3);
  });

  it("gives members places of their own, and newcomers those of strangers who are silent", async () => {
    const node = createGrpcAdapter({
      ...optionsOf(1),
      bind: "127.0.0.1:0",
      places: { strangersMax: 3, membersMax: 2 },
    });
    const member = createGrpcAdapter({ ...optionsOf(2), bind: "127.0.0.1:0" });
    adapters.push(node, member);
    const evicted: string[] = [];
    await node.listen(() => {}, {
      isKnown: (endpointId) => endpointId === member.endpointId,
      isMemberShare: () => false,
      evicted: (door, share) => void evicted.push(`${door} ${share}`),
    });
    const host = hostOf(node.addresses()[0] ?? "");
    const port = Number(node.addresses()[0]?.replace(/^.*:/, ""));
    const sockets: TLSSocket[] = [];
    const flood = async (certificate: object, count: number) => {
      for (let at = 0; at < count; at++) {
        const tls = { ...certificate, rejectUnauthorized: false, ALPNProtocols: ["h2"] };
        const socket = connectTls({ host, port, ...tls });
        sockets.push(socket);
        await once(
          socket.on("error", () => {}),
          "secureConnect",
        );
        socket.resume();
      }
    };
    await flood({}, 5);
    const ended = (from: number, to: number) =>
      Promise.all(sockets.slice(from, to).map((socket) => socket.closed || once(socket, "close")));
    await ended(0, 2);
    const stranger = `grpc_stranger ${host}`;
    expect(evicted).toEqual([stranger, stranger]);
    const to = { endpointId: node.endpointId, addresses: node.addresses() };
    const dial = () => member.connect(to, "blixard/rpc/1", { signal: new AbortController().signal });
    expect((await dial()).remoteEndpointId).toBe(node.endpointId);
    const client = clientOf(node);
    const health = loadSync(protoPath, { enums: String })["grpc.health.v1.Health"] as ServiceDefinition;
    expect(await unary(client, health["Check"], { service: "" })).toEqual({ status: "SERVING" });
    expect(evicted).toEqual([stranger, stranger, stranger]);
    // Nor can a member keep others of its kind out: it competes with itself.
    await flood(createNodeCertificate(optionsOf(2).secretKey, { clock: systemClock }), 3);
    await ended(5, 6);
    expect(evicted.slice(3)).toEqual([`grpc_member ${member.endpointId}`]);
    expect((await dial()).remoteEndpointId).toBe(node.endpointId);
    for (const socket of sockets) socket.destroy();
  });

  it("finds the address that works among several", async () => {
    const adapter = await start();
    await using dialler = disposable(createGrpcAdapter({ ...optionsOf(2), bind: "127.0.0.1:0" }));
    const to = { endpointId: adapter.endpointId, addresses: ["127.0.0.1:9", ...adapter.addresses()] };
    const connection = await dialler.connect(to, "blixard/rpc/1", { signal: new AbortController().signal });
    expect(connection.remoteEndpointId).toBe(adapter.endpointId);
  });

  it("lets both sides open streams, and finish each direction by itself", async () => {
    const accepted = new Watch<Connection | undefined>(undefined);
    const adapter = await start((connection) => accepted.set(connection));
    await using dialler = disposable(createGrpcAdapter({ ...optionsOf(2), bind: "127.0.0.1:0" }));
    const to = { endpointId: adapter.endpointId, addresses: adapter.addresses() };
    const here = await dialler.connect(to, "blixard/rpc/1", { signal: new AbortController().signal });
    const there = await accepted.until((connection) => connection !== undefined);
    const opened = await there?.openStream();
    const taken = await here.acceptStream();
    await opened?.write(Uint8Array.of(1));
    await opened?.finish();
    expect(await taken?.read(9)).toEqual(Buffer.of(1));
    expect(await taken?.read(9)).toBeUndefined();
    await taken?.write(Uint8Array.of(2));
    await taken?.finish();
    expect(await opened?.read(9)).toEqual(Buffer.of(2));
    expect(await opened?.read(9)).toBeUndefined();
    expect(here.path().kind).toBe("direct");
  });
});

/** A `ServerReflectionRequest` with `list_services` (field 7) set to "*". */
const listServices = Buffer.of(0x3a, 1, 0x2a);
const raw = (bytes: Buffer) => bytes;

function unary(client: Client, method: ServiceDefinition[string] | undefined, request: unknown): Promise<unknown> {
  if (method === undefined) throw new Error("there is no such method");
  const { path, requestSerialize, responseDeserialize } = method;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) => {
      if (error) reject(error);
      else resolve(answer);
    });
  });
}

/** Of the TLS sockets that were destroyed while `run` ran: how many, and how many of them after the socket below. */
async function closedBelowFirst(run: () => Promise<void>): Promise<{ tls: number; belowFirst: number }> {
  const destroyed = new Set<Socket>();
  const count = { tls: 0, belowFirst: 0 };
  const { destroy } = Socket.prototype;
  Socket.prototype.destroy = function (error) {
    if (this instanceof TLSSocket && !destroyed.has(this)) {
      count.tls++;
      const { _parent: below } = this as TLSSocket & { _parent?: Socket | null };
      if (below && destroyed.has(below)) count.belowFirst++;
    }
    destroyed.add(this);
    return destroy.call(this, error);
  };
  try {
    await run();
  } finally {
    Socket.prototype.destroy = destroy;
  }
  return count;
}

function firstAnswer(client: Client, path: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = client.makeBidiStreamRequest(path, raw, raw);
    call.on("error", reject);
    call.once("data", (answer: Buffer) => {
      call.end();
      resolve(answer);
    });
    call.write(request);
  });
}

/** The status with which a bidirectional method of the node service answers. */
function refusalOf(client: Client, method: "Connect" | "Stream", metadata: Metadata): Promise<status> {
  return new Promise((resolve) => {
    const call = client.makeBidiStreamRequest(`/blixard.v1.Node/${method}`, raw, raw, metadata);
    call.on("error", (error: ServiceError) => resolve(error.code));
    call.on("data", () => {});
  });
}

function disposable<T extends TransportAdapter>(adapter: T): T & AsyncDisposable {
  return Object.assign(adapter, { [Symbol.asyncDispose]: () => adapter.close() });
}
