/**
 * The gRPC server of a node, for TLS connections that another listener accepted: the node service for peers that proved
 * a key, health and reflection for everybody.
 */
import type { TLSSocket } from "node:tls";
import type { Clock, Timer } from "@blixard/common";
import { type NodeTls, refusalOf, SharedPlaces, shareOfAddress } from "@blixard/identity";
import {
  experimental,
  Metadata,
  ResponderBuilder,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, protoPath } from "grpc-health-check";
import { isLane } from "../transport-lanes.ts";
import { transportLimits } from "../transport-limits.ts";
import type { Connection, Doorkeeper, Lane } from "../transport-types.ts";
import { GrpcConnection } from "./grpc-connection.ts";
import { chunkBytesMax } from "./grpc-stream.ts";
import { type Chunk, type Control, metadataKeys, nodePackage, nodeService, nodeServiceName } from "./node-proto.ts";

/** A connection that the listener accepted, from a node or from a client that asks only for health or reflection. */
interface AcceptedSocket {
  readonly socket: TLSSocket;
  readonly remoteShare: string;
  /** The lane was agreed on; calls for streams wait here until the client has said that it will use it. */
  waiting: (() => void)[] | undefined;
  /** Ends connections that are of no node. */
  readonly timer: Timer;
  readonly release: () => void;
  connection: GrpcConnection | undefined;
}

type Call<Message> = ServerDuplexStream<Message, Message>;

export interface GrpcPlaces {
  /** Connections without a lane at once, of strangers. Default: 128. */
  readonly strangersMax?: number;
  /** The same of members and clients. Default: 256. */
  readonly membersMax?: number;
}

export interface GrpcServerDeps {
  readonly clock: Clock;
  readonly tls: NodeTls;
  readonly doorkeeper: Doorkeeper | undefined;
  readonly places?: GrpcPlaces | undefined;
}

export class GrpcServer {
  readonly #clock: Clock;
  readonly #tls: NodeTls;
  readonly #server: Server;
  readonly #accepted = new Map<string, AcceptedSocket>();
  readonly #health = new HealthImplementation({ "": "NOT_SERVING", [nodeServiceName]: "NOT_SERVING" });
  /** Places of connections that have no lane yet. */
  readonly #strangers: SharedPlaces<AcceptedSocket>;
  readonly #members: SharedPlaces<AcceptedSocket>;
  readonly #doorkeeper: Doorkeeper | undefined;
  #onConnection: ((connection: Connection) => void) | undefined;
  #sockets = 0;

  constructor({ clock, tls, doorkeeper, places = {} }: GrpcServerDeps) {
    this.#clock = clock;
    this.#tls = tls;
    this.#doorkeeper = doorkeeper;
    const { grpcStrangersMax, grpcMembersMax } = transportLimits;
    this.#strangers = this.#places("grpc_stranger", places.strangersMax ?? grpcStrangersMax);
    this.#members = this.#places("grpc_member", places.membersMax ?? grpcMembersMax);
    this.#server = new Server(serverOptions);
    this.#server.addService(nodeService, {
      Connect: (call: Call<Control>) => this.#connect(call),
      Stream: (call: Call<Chunk>) => this.#stream(call),
    });
    this.#health.addToServer(this.#server);
    reflectionOf().addToServer(this.#server);
  }

  listen(onConnection: (connection: Connection) => void): void {
    this.#onConnection = onConnection;
    this.#setHealth("SERVING");
  }

  /** Serves a connection whose handshake chose `h2`. */
  accept(socket: TLSSocket): void {
    // A reset is no error here: the user of the connection sees its end. Without a listener it would end the process.
    socket.on("error", () => {});
    this.#sockets++;
    const key = String(this.#sockets);
    const credentials = experimental.createServerCredentialsWithInterceptors(ServerCredentials.createInsecure(), [
      marksWith(key),
    ]);
    const injector = this.#server.createConnectionInjector(credentials);
    const timer = this.#clock.setTimer(transportLimits.grpcWithoutLaneMs, () => socket.destroy());
    const remoteShare = shareOfAddress(socket.remoteAddress);
    const release = () => {
      timer.cancel();
      this.#leavePlace(accepted);
      if (this.#accepted.delete(key)) injector.destroy();
    };
    const accepted: AcceptedSocket = { socket, remoteShare, waiting: undefined, timer, release, connection: undefined };
    this.#accepted.set(key, accepted);
    this.#takePlace(accepted);
    socket.once("close", release);
    // TLS is done; inside it the runtime speaks HTTP/2 as over any other stream.
    injector.injectConnection(socket);
  }

  close(): void {
    this.#onConnection = undefined;
    this.#setHealth("NOT_SERVING");
    for (const { socket, connection } of this.#accepted.values()) {
      if (connection === undefined) socket.destroy();
      else connection.close("the endpoint closed");
    }
    this.#server.tryShutdown(() => {});
  }

  #setHealth(health: "SERVING" | "NOT_SERVING"): void {
    for (const service of ["", nodeServiceName]) this.#health.setStatus(service, health);
  }

  #places(door: "grpc_stranger" | "grpc_member", placesMax: number): SharedPlaces<AcceptedSocket> {
    const evict = ({ socket, release }: AcceptedSocket, share: string) => {
      socket.destroy();
      release();
      this.#doorkeeper?.evicted(door, share);
    };
    return new SharedPlaces({ placesMax, evict });
  }

  /** The handshake tells members apart from strangers, so they never compete for a place. */
  #takePlace(accepted: AcceptedSocket): void {
    const { socket, remoteShare } = accepted;
    const key = this.#tls.identify(socket, "client", undefined);
    if (key !== undefined && this.#doorkeeper?.isKnown(key) === true) this.#members.take(accepted, key);
    // Its key is proved only later; the CA certified nobody else than nodes.
    else if (this.#tls.demandsCa && socket.authorized) this.#members.take(accepted, remoteShare);
    else this.#strangers.take(accepted, remoteShare);
  }

  #leavePlace(accepted: AcceptedSocket): void {
    this.#strangers.leave(accepted);
    this.#members.leave(accepted);
  }

  #connect(call: Call<Control>): void {
    const accepted = this.#acceptedOf(call.metadata);
    const lane = call.metadata.get(metadataKeys.lane)[0];
    if (accepted === undefined || !this.#mayProve(accepted)) refuse(call, status.UNAUTHENTICATED, certificateNeeded);
    else if (accepted.waiting !== undefined) refuse(call, status.ALREADY_EXISTS, "the connection has a lane already");
    else if (!isLane(lane)) refuse(call, status.FAILED_PRECONDITION, "this lane is not spoken here");
    else if (this.#onConnection === undefined) refuse(call, status.UNAVAILABLE, "the node is not serving");
    else this.#answer(call, lane, accepted);
  }

  /** Without a CA the certificate must prove the key; with one it must be of the CA, and the key is proved beside it. */
  #mayProve({ socket }: AcceptedSocket): boolean {
    return this.#tls.demandsCa ? socket.authorized : this.#tls.identify(socket, "client", undefined) !== undefined;
  }

  #answer(call: Call<Control>, lane: Lane, accepted: AcceptedSocket): void {
    accepted.waiting = [];
    // The client checks who answered before it starts: nothing is handed up of a connection that it will not use.
    call.once("data", ({ start }: Control) => {
      accepted.timer.cancel();
      const claimed = { endpointId: start?.endpointId ?? "", proof: start?.proof ?? new Uint8Array() };
      const endpointId = start ? this.#tls.identify(accepted.socket, "client", claimed) : undefined;
      if (endpointId === undefined) refuse(call, status.UNAUTHENTICATED, refusalOf(this.#tls, accepted.socket).message);
      else this.#start(call, lane, accepted, endpointId);
    });
    const headers = new Metadata();
    if (this.#tls.demandsCa) {
      const { endpointId, proof } = this.#tls.prove(accepted.socket, "server");
      headers.set(metadataKeys.endpoint, endpointId);
      headers.set(metadataKeys.proof, Buffer.from(proof));
    }
    call.sendMetadata(headers);
  }

  #start(call: Call<Control>, lane: Lane, accepted: AcceptedSocket, remoteEndpointId: string): void {
    const { socket, remoteShare, release } = accepted;
    const deps = { clock: this.#clock, lane, remoteEndpointId, remoteShare, control: call, socket, release };
    accepted.connection = new GrpcConnection(deps);
    this.#leavePlace(accepted);
    if (this.#onConnection === undefined) accepted.connection.close("the endpoint closed");
    else this.#onConnection(accepted.connection);
    for (const proceed of accepted.waiting?.splice(0) ?? []) proceed();
  }

  #stream(call: Call<Chunk>): void {
    const accepted = this.#acceptedOf(call.metadata);
    const { connection, waiting } = accepted ?? {};
    if (connection !== undefined) this.#add(call, connection);
    else if (accepted === undefined || waiting === undefined) refuse(call, status.UNAUTHENTICATED, certificateNeeded);
    // One more than a well-behaved peer needs, so that the link above sees the abuse and counts it.
    else if (waiting.length > transportLimits.incomingStreamsMax) refuse(call, status.RESOURCE_EXHAUSTED, "too many");
    // The runtime may hand over a call before the message of another call that was sent earlier.
    else waiting.push(() => accepted.connection && this.#add(call, accepted.connection));
  }

  #add(call: Call<Chunk>, connection: GrpcConnection): void {
    const given = call.metadata.get(metadataKeys.stream)[0];
    const number = given === undefined ? undefined : Number(given);
    if (connection.addCall(call, number, () => call.destroy())) return;
    refuse(call, status.FAILED_PRECONDITION, "nobody waits for this stream");
  }

  #acceptedOf(metadata: Metadata): AcceptedSocket | undefined {
    return this.#accepted.get(String(metadata.get(metadataKeys.socket)[0]));
  }
}

const certificateNeeded = "only a client that proves the key of a node may call this";

const serverOptions = {
  "grpc.max_concurrent_streams": 2 * transportLimits.incomingStreamsMax + 8,
  "grpc.max_receive_message_length": chunkBytesMax + 1_024,
  "grpc.enable_channelz": 0,
} as const;

/** Tells the handlers which connection a call came over; a client that sends the mark itself is overwritten. */
function marksWith(key: string): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(
      call,
      new ResponderBuilder()
        .withStart((next) =>
          next(
            new ServerListenerBuilder()
              .withOnReceiveMetadata((metadata, nextMetadata) => {
                metadata.set(metadataKeys.socket, key);
                nextMetadata(metadata);
              })
              .build(),
          ),
        )
        .build(),
    );
}

function reflectionOf(): ReflectionService {
  return new ReflectionService({ ...nodePackage, ...loadSync(protoPath, { longs: String, enums: String }) });
}

function refuse(call: Pick<Call<unknown>, "emit">, code: status, details: string): void {
  call.emit("error", { code, details, metadata: new Metadata() });
}
