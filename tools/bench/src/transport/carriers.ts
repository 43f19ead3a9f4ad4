/** Three ways to a byte stream between two processes, without sessions: TCP, the bare Iroh binding, gRPC. */
import { createServer, connect as dialTcp, type Socket } from "node:net";
import { assert, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { ByteStream, EndpointAddress } from "@blixard/transport";
import { createGrpcAdapter } from "@blixard/transport/grpc";
import { type BiStream, Endpoint, EndpointAddr, EndpointId, RelayMode } from "@number0/iroh";

export const carrierNames = ["tcp", "grpc", "iroh"] as const;
export type CarrierName = (typeof carrierNames)[number];

export interface Carrier {
  readonly address: EndpointAddress;
  /** Resolves with the stream that the other side opens. */
  accept(): Promise<ByteStream>;
  open(to: EndpointAddress): Promise<ByteStream>;
  close(): Promise<void>;
}

export const seedOf = (number: number): Uint8Array => new Uint8Array(32).fill(number);

export function openCarrier(name: CarrierName, seed: number): Promise<Carrier> {
  return { tcp: openTcp, grpc: openGrpc, iroh: openIroh }[name](seed);
}

async function openTcp(): Promise<Carrier> {
  const accepted = new Watch<ByteStream | undefined>(undefined);
  const server = createServer({ noDelay: true }, (socket) => accepted.set(new TcpStream(socket)));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const bound = server.address();
  assert(typeof bound === "object" && bound !== null, "a TCP server has a port");
  return {
    address: { endpointId: "", addresses: [`127.0.0.1:${bound.port}`] },
    accept: () => firstOf(accepted),
    open: async ({ addresses: [address = ""] }) => {
      const socket = dialTcp({ host: "127.0.0.1", port: Number(address.split(":")[1]), noDelay: true });
      await new Promise((connected, failed) => socket.once("connect", connected).once("error", failed));
      return new TcpStream(socket);
    },
    close: async () => void server.close(),
  };
}

async function firstOf(accepted: Watch<ByteStream | undefined>): Promise<ByteStream> {
  const stream = await accepted.until((value) => value !== undefined);
  assert(stream !== undefined, "the wait was for a stream");
  return stream;
}

class TcpStream implements ByteStream {
  readonly #socket: Socket;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    const wake = () => this.#wake();
    socket.on("readable", wake).on("end", wake).on("close", wake);
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((written, failed) => {
      this.#socket.write(bytes, (error) => (error == null ? written() : failed(error)));
    });
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const bytes: Buffer | null = this.#socket.read();
      if (bytes !== null) return bytes;
      if (this.#socket.readableEnded || this.#socket.destroyed) return undefined;
      await new Promise<void>((ready) => {
        this.#wake = ready;
      });
    }
  }

  async finish(): Promise<void> {
    this.#socket.destroy();
  }
}

async function openGrpc(seed: number): Promise<Carrier> {
  const accepted = new Watch<ByteStream | undefined>(undefined);
  const adapter = createGrpcAdapter({ secretKey: seedOf(seed), bind: "127.0.0.1:0", clock: systemClock });
  await adapter.listen((connection) => {
    void connection.acceptStream().then((stream) => accepted.set(stream));
  });
  const { endpointId } = adapter;
  return {
    address: { endpointId, addresses: adapter.addresses() },
    accept: () => firstOf(accepted),
    open: async (to) => {
      const connection = await adapter.connect(to, "blixard/rpc/1", { signal: AbortSignal.timeout(10_000) });
      return connection.openStream();
    },
    close: () => adapter.close(),
  };
}

/** The collector closes what nothing refers to: endpoints and connections are held for as long as the process lives. */
const heldForLife: unknown[] = [];
const alpn = [...new TextEncoder().encode("blixard/bench/1")];

/** Nothing but the binding, with the fastest known conversion of bytes. */
async function openIroh(seed: number): Promise<Carrier> {
  const builder = Endpoint.builder();
  builder.applyMinimal();
  builder.relayMode(RelayMode.disabled());
  builder.secretKey([...seedOf(seed)]);
  builder.alpns([alpn]);
  builder.bindAddr("127.0.0.1:0");
  builder.bindAddr("[::1]:0");
  const endpoint = await builder.bind();
  const addresses = endpoint.boundSockets().filter((socket) => socket.startsWith("127."));
  heldForLife.push(endpoint);
  return {
    address: { endpointId: endpoint.id().toString(), addresses },
    accept: async () => {
      const incoming = await endpoint.acceptNext();
      assert(incoming !== null, "the endpoint was closed before the peer came");
      const connection = await (await incoming.accept()).connect();
      heldForLife.push(connection);
      return new IrohStream(await connection.acceptBi());
    },
    open: async (to) => {
      const address = new EndpointAddr(EndpointId.fromString(to.endpointId), undefined, [...to.addresses]);
      const connection = await endpoint.connect(address, alpn);
      heldForLife.push(connection);
      return new IrohStream(await connection.openBi());
    },
    close: () => endpoint.close(),
  };
}

class IrohStream implements ByteStream {
  readonly #stream: BiStream;
  readonly #values: number[] = [];

  constructor(stream: BiStream) {
    this.#stream = stream;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#values.length = bytes.length;
    for (let at = 0; at < bytes.length; at++) this.#values[at] = bytes[at] ?? 0;
    await this.#stream.send.writeAll(this.#values);
  }

  async read(bytesMax: number): Promise<Uint8Array | undefined> {
    const values = await this.#stream.recv.read(bytesMax);
    if (values.length === 0) return undefined;
    const bytes = new Uint8Array(values.length);
    bytes.set(values);
    return bytes;
  }

  async finish(): Promise<void> {
    await this.#stream.send.finish();
  }
}
