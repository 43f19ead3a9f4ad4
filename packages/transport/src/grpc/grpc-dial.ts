/** Dials one address: TCP, TLS 1.3 with the certificates of both keys, HTTP/2, and the control call of a lane. */
import { isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import {
  abortReason,
  BlixardError,
  type Clock,
  hostOf,
  isBlixardError,
  messageOf,
  offAbort,
  onAbort,
} from "@blixard/common";
import { type NodeTls, refusalOf } from "@blixard/identity";
import {
  CallCredentials,
  ChannelCredentials,
  Client,
  type ClientDuplexStream,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import type { Lane } from "../transport-types.ts";
import { GrpcConnection } from "./grpc-connection.ts";
import { chunkBytesMax } from "./grpc-stream.ts";
import { type Chunk, type Control, metadataKeys, methodOf } from "./node-proto.ts";

export interface GrpcDial {
  readonly clock: Clock;
  readonly address: string;
  readonly endpointId: string;
  readonly lane: Lane;
  readonly tls: NodeTls;
  readonly signal: AbortSignal;
}

/** The name in every node's certificate. It proves nothing; the key does. */
const serverName = "blixard";

const clientOptions = {
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
  "grpc.enable_channelz": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.default_authority": serverName,
  "grpc.max_receive_message_length": chunkBytesMax + 1_024,
} as const;

/** @throws UNREACHABLE, UNKNOWN_PEER, UNSUPPORTED_VERSION, and the reason of the signal */
export async function dialGrpc(dial: GrpcDial): Promise<GrpcConnection> {
  dial.signal.throwIfAborted();
  const credentials = new PeerCredentials(dial);
  const client = new Client(targetOf(dial.address), credentials, clientOptions);
  const metadata = new Metadata();
  metadata.set(metadataKeys.lane, dial.lane);
  const control = callOf<Control>(client, "Connect", metadata);
  const release = () => {
    credentials.close();
    client.close();
  };
  try {
    const headers = await answered(control, dial.signal);
    const { socket } = credentials;
    if (socket === undefined) throw new BlixardError("UNREACHABLE", "the connection was lost");
    checkServer(dial, socket, headers);
    const callStream = (number: number | undefined) => {
      const streamMetadata = new Metadata();
      if (number !== undefined) streamMetadata.set(metadataKeys.stream, String(number));
      const call = callOf<Chunk>(client, "Stream", streamMetadata);
      return { call, abort: () => call.cancel() };
    };
    const { clock, lane, endpointId: remoteEndpointId } = dial;
    const connection = new GrpcConnection({ clock, lane, remoteEndpointId, control, socket, callStream, release });
    control.write({ start: dial.tls.demandsCa ? dial.tls.prove(socket, "client") : {} } satisfies Control);
    return connection;
  } catch (error) {
    control.on("error", () => {});
    control.cancel();
    release();
    throw credentials.failure ?? toDialError(error, dial.address);
  }
}

function callOf<Message>(client: Client, name: "Connect" | "Stream", metadata: Metadata) {
  const { path, requestSerialize, responseDeserialize } = methodOf(name);
  const call: ClientDuplexStream<Message, Message> = client.makeBidiStreamRequest<Message, Message>(
    path,
    requestSerialize,
    responseDeserialize,
    metadata,
  );
  return call;
}

/** With an operator's CA the server proves its key in the headers. @throws UNKNOWN_PEER */
function checkServer({ tls, endpointId }: GrpcDial, socket: TLSSocket, headers: Metadata): void {
  if (!tls.demandsCa) return;
  const proof = headers.get(metadataKeys.proof)[0];
  const claimed = {
    endpointId: String(headers.get(metadataKeys.endpoint)[0] ?? ""),
    proof: Buffer.isBuffer(proof) ? new Uint8Array(proof) : new Uint8Array(),
  };
  if (tls.identify(socket, "server", claimed) !== endpointId) throw refusalOf(tls, socket);
}

/** Resolves with the headers of the answer. */
function answered(control: ClientDuplexStream<Control, Control>, signal: AbortSignal): Promise<Metadata> {
  return new Promise((resolve, reject) => {
    const settle = (run: () => void) => {
      offAbort(signal, abort);
      control.removeListener("error", fail);
      run();
    };
    const abort = () => settle(() => reject(abortReason(signal)));
    const fail = (error: Error) => settle(() => reject(error));
    onAbort(signal, abort);
    control.on("error", fail);
    control.once("metadata", (headers: Metadata) => settle(() => resolve(headers)));
  });
}

/**
 * Makes the one TLS connection of a channel and checks the key at its other end before anything is sent to it. The
 * credentials that gRPC brings can only ask a CA, and hide the socket, which must be cut when a dial is given up.
 */
class PeerCredentials extends ChannelCredentials {
  readonly #dial: GrpcDial;
  readonly #sockets = new Set<Socket>();
  #connected = false;
  #closed = false;
  socket: TLSSocket | undefined;
  failure: BlixardError | undefined;

  constructor(dial: GrpcDial) {
    super();
    this.#dial = dial;
  }

  _isSecure(): boolean {
    return true;
  }

  _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  _createSecureConnector(): ReturnType<ChannelCredentials["_createSecureConnector"]> {
    return {
      connect: async (socket) => ({ socket: await this.#secure(socket), secure: true }),
      waitForReady: async () => {
        if (this.#closed) throw new Error("the dial was given up");
      },
      getCallCredentials: () => CallCredentials.createEmpty(),
      destroy: () => {},
    };
  }

  close(): void {
    this.#closed = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** A channel would make another connection after the first one broke; here that is for the session to decide. */
  async #secure(socket: Socket): Promise<TLSSocket> {
    this.#own(socket);
    if (this.#closed || this.#connected) {
      socket.destroy();
      throw new Error("the dial was given up");
    }
    this.#connected = true;
    try {
      this.socket = await this.#handshake(socket);
      return this.socket;
    } catch (error) {
      this.failure = isBlixardError(error) ? error : toDialError(error, this.#dial.address);
      throw error;
    }
  }

  #handshake(socket: Socket): Promise<TLSSocket> {
    const { tls: nodeTls } = this.#dial;
    const tls = connectTls({
      socket,
      secureContext: nodeTls.dialContext(),
      servername: serverName,
      minVersion: "TLSv1.3",
      ALPNProtocols: ["h2"],
      // Its certificate may be self-signed by design; what it proves is checked below.
      rejectUnauthorized: false,
      // Names in certificates of an operator's CA do not matter: the key says who it is.
      checkServerIdentity: () => undefined,
    });
    this.#own(tls);
    // From here on only TLS ends the socket below it: `open-sockets.ts` says why.
    this.#sockets.delete(socket);
    return new Promise((resolve, reject) => {
      tls.once("error", (error) => {
        tls.destroy();
        reject(error);
      });
      tls.once("close", () => reject(new Error("the connection was closed")));
      tls.once("secureConnect", () => {
        const refused = this.#refusal(tls);
        if (refused !== undefined) {
          tls.destroy();
          reject(refused);
        } else if (tls.alpnProtocol !== "h2") {
          tls.destroy();
          reject(new BlixardError("UNSUPPORTED_VERSION", "the endpoint does not speak gRPC"));
        } else {
          resolve(tls);
        }
      });
    });
  }

  /** Before anything is sent: a certificate of the CA, or one that proves the key itself. */
  #refusal(socket: TLSSocket): BlixardError | undefined {
    const { tls, endpointId } = this.#dial;
    if (tls.demandsCa) return socket.authorized ? undefined : refusalOf(tls, socket);
    const found = tls.identify(socket, "server", undefined);
    if (found === endpointId) return undefined;
    if (found === undefined) return refusalOf(tls, socket);
    return new BlixardError("UNKNOWN_PEER", `another endpoint than ${endpointId.slice(0, 10)} answers there`);
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    // Errors of a socket that was given up do not matter; without a listener they would end the process.
    socket.on("error", () => {});
    socket.once("close", () => this.#sockets.delete(socket));
  }
}

function toDialError(error: unknown, address: string): BlixardError {
  if (isBlixardError(error)) return error;
  const text = messageOf(error);
  const { code } = error as Partial<ServiceError>;
  if (code === status.FAILED_PRECONDITION || code === status.UNIMPLEMENTED || /no application protocol/i.test(text)) {
    return new BlixardError("UNSUPPORTED_VERSION", "the endpoint does not speak this protocol", { cause: error });
  }
  return new BlixardError("UNREACHABLE", `${address}: ${text}`, { cause: error });
}

function targetOf(address: string): string {
  const version = isIP(hostOf(address));
  return version === 0 ? `dns:${address}` : `ipv${version}:${address}`;
}
