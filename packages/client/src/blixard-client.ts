/**
 * The client of a cluster. It sends each call to one of its addresses, moves on to the next when that one fails or
 * cannot serve, and sends a write again with the same idempotency key, so that it applies once.
 */
import {
  BlixardError,
  type Clock,
  changedError,
  isBlixardError,
  notApplied,
  type Random,
  toHex,
} from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { memoryPins, type PinStore } from "@blixard/identity";
import {
  type Health,
  type HttpMethodName,
  type Identity,
  isAccessToChange,
  mayChange,
  methods,
  type NodeStatus,
  nodePlacesSchema,
  type RequestOf,
  type ResponseOf,
  type StoredBlob,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
  streams,
} from "@blixard/protocol";
import { parseNodeAddress } from "./address.ts";
import type { CallFunction, CallOptions, StreamFunction, StreamOptions } from "./call-types.ts";
import type { BlobPromise, Channel, ChannelCall, NodePlace } from "./channel.ts";
import { type ClientGroups, makeGroups } from "./groups.ts";
import { HttpChannel } from "./http-channel.ts";
import { defaultRetryPolicy, withRetries } from "./retry.ts";
import { type RpcCaller, RpcChannel, type RpcEndpoint, type RpcStreamCaller } from "./rpc-channel.ts";

/** One node to talk to over its HTTP API. */
export interface ClientTarget {
  /** `host:port` of the bind port, or `http://host:port` of the HTTP port. */
  readonly address: string;
  /** Overrides the token of the client at this node. */
  readonly token?: string;
  /** The token is the `local.token` of this node, which is good for its status there and nowhere else. */
  readonly isOwnToken?: boolean;
  /** Endpoint id that the node must prove; without it the first one seen is kept. */
  readonly pin?: string;
}

/** One node to talk to over the RPC lane. */
export interface RpcTarget extends RpcEndpoint {
  readonly rpc: RpcCaller;
  /** Without it there are no streams over this way, and so no watching, following and waiting. */
  readonly stream?: RpcStreamCaller;
}

export interface ClientOptions {
  readonly addresses: readonly (string | ClientTarget | RpcTarget)[];
  /** Bearer token, sent to every address that has none of its own. */
  readonly token?: string;
  /** Endpoint id that every address must prove; meant for one address. */
  readonly pin?: string;
  /** Where learned keys are kept. Default: for the life of the client. */
  readonly pins?: PinStore;
  /** Time for one call, retries included. Default 15,000 ms. */
  readonly timeoutMs?: number;
  /** A call gives up when no address could be reached at all for so long. Default 3,000 ms. */
  readonly unreachableMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Makes a client; connects at the first call. @throws INVALID_ARGUMENT for an address that cannot be read */
export function connectClient(options: ClientOptions): BlixardClient {
  return new BlixardClient(options);
}

export class BlixardClient implements AsyncDisposable {
  readonly kv: ClientGroups["kv"];
  readonly vms: ClientGroups["vms"];
  readonly images: ClientGroups["images"];
  readonly tickets: ClientGroups["tickets"];
  readonly tokens: ClientGroups["tokens"];
  readonly certificates: ClientGroups["certificates"];
  readonly nodes: ClientGroups["nodes"];
  readonly members: ClientGroups["members"];
  readonly bans: ClientGroups["bans"];
  readonly operations: ClientGroups["operations"];
  readonly scheduling: ClientGroups["scheduling"];
  readonly quotas: ClientGroups["quotas"];
  readonly capacity: ClientGroups["capacity"];
  readonly volumes: ClientGroups["volumes"];
  readonly networks: ClientGroups["networks"];
  readonly securityGroups: ClientGroups["securityGroups"];
  readonly cluster: ClientGroups["cluster"];
  readonly #channels: Channel[];
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #timeoutMs: number;
  readonly #unreachableMs: number;
  /** Position of the address that answered last. */
  #current = 0;
  #hasOnlyRead = true;
  /** The last log index that an answer named, and when. */
  #known: { readonly index: number | undefined; readonly atMs: number } | undefined;
  #isClosed = false;

  constructor(options: ClientOptions) {
    if (options.addresses.length === 0) {
      throw new BlixardError("INVALID_ARGUMENT", "a client needs at least one address", { hint: "Use HOST:PORT." });
    }
    const pins = options.pins ?? memoryPins();
    this.#clock = options.clock ?? systemClock;
    const random = options.random ?? systemRandom;
    this.#random = random;
    this.#channels = options.addresses.map((given) => makeChannel(given, options, pins, random));
    this.#timeoutMs = options.timeoutMs ?? defaultRetryPolicy.timeoutMs;
    this.#unreachableMs = options.unreachableMs ?? defaultRetryPolicy.unreachableMs;
    const call: CallFunction = (name, request, callOptions) => this.call(name, request, callOptions);
    const stream: StreamFunction = (name, request, streamOptions) => this.stream(name, request, streamOptions);
    const groups = makeGroups(
      { call, stream, uploadBlob: (chunks, promise, callOptions) => this.#uploadBlob(chunks, promise, callOptions) },
      this.#clock,
    );
    this.kv = groups.kv;
    this.vms = groups.vms;
    this.images = groups.images;
    this.tickets = groups.tickets;
    this.tokens = groups.tokens;
    this.certificates = groups.certificates;
    this.nodes = groups.nodes;
    this.members = groups.members;
    this.bans = groups.bans;
    this.operations = groups.operations;
    this.scheduling = groups.scheduling;
    this.quotas = groups.quotas;
    this.capacity = groups.capacity;
    this.volumes = groups.volumes;
    this.networks = groups.networks;
    this.securityGroups = groups.securityGroups;
    this.cluster = groups.cluster;
  }

  /** The address that answered last. */
  get address(): string {
    return this.#channel().address;
  }

  /** Whether it was asked nothing so far that may change anything. */
  get hasOnlyRead(): boolean {
    return this.#hasOnlyRead;
  }

  /** Calls a method of the node service. Retries until it has an answer that will not change, or the time is over. */
  async call<Name extends HttpMethodName>(
    name: Name,
    request: RequestOf<Name>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Name>> {
    this.#note(mayChange(methods[name]));
    const key = methods[name].writes ? await this.#keyOf(options) : {};
    const asked = {
      ...(options.stale === undefined ? {} : { stale: options.stale }),
      ...(options.ifMatchIndex === undefined ? {} : { ifMatchIndex: options.ifMatchIndex }),
      ...key,
    };
    // A call that waits on purpose is not one that hangs.
    const waitMs = "waitMs" in request && typeof request.waitMs === "number" ? request.waitMs : 0;
    const once = "once" in methods[name];
    const work = (channel: Channel, limits: Pick<ChannelCall, "timeoutMs" | "signal">) =>
      channel.call(name, request, { ...asked, ...limits });
    const answer = await this.#retrying(options, once ? Number.POSITIVE_INFINITY : waitMs, work, once);
    this.#learn(answer);
    return answer;
  }

  /** A log index that stands before whatever is asked for from now on; undefined when no node tells one. */
  async knownIndex(options: CallOptions = {}): Promise<number | undefined> {
    const ageMs = this.#clock.monotonicMs() - (this.#known?.atMs ?? Number.NEGATIVE_INFINITY);
    if (ageMs > knownIndexMsMax) {
      await this.identity(limitsOf(options)).catch((error: unknown) => {
        // Nothing else was asked for yet.
        throw isBlixardError(error) ? changedError(error, { outcome: "not_applied" }) : error;
      });
      // A node of an earlier release tells none, and is not asked at each write either.
      this.#known = { index: this.#known?.index, atMs: this.#clock.monotonicMs() };
    }
    return this.#known?.index;
  }

  /**
   * Opens a stream of the node service. The opening is retried like a call; a stream that broke is not: open it anew.
   * A reader that stops ends it; over HTTP, so does one that asks for nothing for five minutes.
   */
  async stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    options: StreamOptions<Name> = {},
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    this.#note(isAccessToChange(streams[name].access));
    const { input, stale, ...limits } = options;
    const opened = { ...(input === undefined ? {} : { input }), ...(stale === undefined ? {} : { stale }) };
    return await this.#retrying(limits, 0, (channel, own) => channel.stream(name, request, { ...opened, ...own }));
  }

  /** Resolves when a node answers that it is alive; says whether it serves. Needs no token over HTTP. */
  async healthCheck(options: CallOptions = {}): Promise<Health> {
    return await this.#retrying(options, 0, (channel, limits) => channel.health(limits));
  }

  status(options: CallOptions = {}): Promise<NodeStatus> {
    return this.call("status.get", {}, options);
  }

  /** Who answers at the address; needs no token. */
  identity(options: CallOptions = {}): Promise<Identity> {
    return this.call("identity.get", {}, options);
  }

  /** Asks a node first from now on, with the same right, so that what is sent to it goes through no other one. */
  prefer(node: NodePlace): void {
    this.#goTo([node]);
  }

  /** Ends what is open. What waits for its next attempt fails with CANCELLED. */
  close(): void {
    this.#isClosed = true;
    for (const channel of this.#channels) channel.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Blobs are not retried: the stream can be read only once. */
  async #uploadBlob(
    chunks: AsyncIterable<Uint8Array>,
    promise: BlobPromise,
    options: CallOptions,
  ): Promise<StoredBlob> {
    const { signal } = options;
    const timeoutMs = options.timeoutMs ?? blobTimeoutMs;
    this.#note(mayChange(methods["blob.write"]));
    const limits = { timeoutMs, ...(signal === undefined ? {} : { signal }) };
    try {
      return await this.#channel().uploadBlob(chunks, promise, limits);
    } catch (error) {
      // A node that serves nobody says so before anything of the stream is read.
      if (!this.#follow(error)) throw error;
      return await this.#channel().uploadBlob(chunks, promise, limits);
    }
  }

  /** What keeps a write from being done twice: over all its attempts, however late the last one is. */
  async #keyOf(options: CallOptions): Promise<Pick<ChannelCall, "idempotencyKey" | "sinceIndex">> {
    const { idempotencyKey, sinceIndex = idempotencyKey === undefined ? await this.knownIndex(options) : undefined } =
      options;
    return {
      idempotencyKey: idempotencyKey ?? toHex(this.#random.bytes(16)),
      ...(sinceIndex === undefined ? {} : { sinceIndex }),
    };
  }

  #learn(answer: object): void {
    if (!("index" in answer) || typeof answer.index !== "number") return;
    this.#known = { index: Math.max(answer.index, this.#known?.index ?? 0), atMs: this.#clock.monotonicMs() };
  }

  #note(changes: boolean): void {
    if (changes) this.#hasOnlyRead = false;
  }

  /** Goes on at the voters that a node named which serves nobody. False when it has named none. */
  #follow(error: unknown): boolean {
    if (!isBlixardError(error) || error.code !== "MISDIRECTED") return false;
    return this.#goTo(placesIn(error.details?.["voters"]).slice(0, followedMax));
  }

  /** Goes on at one of these. False when there is no other way than the present one. */
  #goTo(nodes: readonly NodePlace[]): boolean {
    const known = (channel: Channel) => this.#channels.findIndex(({ address }) => address === channel.address);
    let first: number | undefined;
    for (const channel of this.#channel().toOthers(nodes)) {
      let at = known(channel);
      if (at < 0 && this.#channels.length < channelsMax) at = this.#channels.push(channel) - 1;
      else channel.close();
      if (at >= 0) first ??= at;
    }
    if (first !== undefined && first !== this.#current) this.#current = first;
    else return false;
    return true;
  }

  #channel(): Channel {
    const channel = this.#channels[this.#current % this.#channels.length];
    if (channel === undefined) throw new BlixardError("INVALID_ARGUMENT", "the client has no address");
    return channel;
  }

  #retrying<T>(
    options: CallOptions,
    waitMs: number,
    work: (channel: Channel, limits: Pick<ChannelCall, "timeoutMs" | "signal">) => Promise<T>,
    once = false,
  ): Promise<T> {
    const { signal } = options;
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    const policy = { timeoutMs, unreachableMs: this.#unreachableMs, addresses: this.#channels.length, once };
    const deps = { clock: this.#clock, random: this.#random };
    return withRetries(deps, policy, signal, async (remainingMs) => {
      if (this.#isClosed) throw notApplied("CANCELLED", "the client was closed");
      const at = this.#current;
      // With several addresses, one that hangs must leave time for the others.
      const limitMs = this.#channels.length === 1 ? remainingMs : Math.min(remainingMs, waitMs + attemptMsMax);
      try {
        const limits = { timeoutMs: Math.ceil(limitMs), ...(signal === undefined ? {} : { signal }) };
        return await work(this.#channel(), limits);
      } catch (error) {
        if (this.#follow(error)) throw error;
        // Only the call that failed here moves on, so that parallel failures skip one address, not several.
        if (this.#current === at) this.#current = (at + 1) % this.#channels.length;
        throw error;
      }
    });
  }
}

const blobTimeoutMs = 600_000;
/** A busy cluster forgets request ids within seconds. */
const knownIndexMsMax = 1_000;

function limitsOf({ timeoutMs, signal }: CallOptions): CallOptions {
  return { ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(signal === undefined ? {} : { signal }) };
}

/** Voters that a node may name. */
const followedMax = 16;
const channelsMax = 256;

/** What another node has named, which may be anything. */
function placesIn(value: unknown): NodePlace[] {
  const parsed = nodePlacesSchema.safeParse(value);
  return parsed.success ? parsed.data : [];
}

const attemptMsMax = 5_000;

function makeChannel(
  given: string | ClientTarget | RpcTarget,
  options: ClientOptions,
  pins: PinStore,
  random: Random,
): Channel {
  if (typeof given !== "string" && "rpc" in given) return new RpcChannel(given, random);
  const target = typeof given === "string" ? { address: given } : given;
  const pin = target.pin ?? options.pin;
  return new HttpChannel({
    address: parseNodeAddress(target.address),
    token: target.token ?? options.token,
    ...(target.isOwnToken === undefined ? {} : { isOwnToken: target.isOwnToken }),
    pins: pin === undefined ? pins : { get: () => pin, set: () => {} },
  });
}
