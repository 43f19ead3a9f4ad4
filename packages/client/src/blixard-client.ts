/**
 * The client of a cluster. It sends each call to one of its addresses, moves on to the next when that one fails or
 * cannot serve, and sends a write again with the same idempotency key, so that it applies once.
 */
import type { Duplex } from "node:stream";
import { BlixardError, type Clock, type Random, toHex } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import {
  type Identity,
  type MethodName,
  methods,
  type NodeStatus,
  type RequestOf,
  type ResponseOf,
} from "@blixard/protocol";
import { parseNodeAddress } from "./address.ts";
import { type CallFunction, type ClientGroups, makeGroups } from "./groups.ts";
import { type HttpAnswer, type HttpExchange, NodeEndpoint } from "./node-endpoint.ts";
import { memoryPins, type PinStore } from "./pins.ts";
import { defaultRetryPolicy, withRetries } from "./retry.ts";
import { type HttpMethodName, headers } from "./routes.ts";
import { decodeAnswer, decodeError, encodeCall } from "./wire.ts";

/** One node to talk to. */
export interface ClientTarget {
  /** `host:port` of the bind port, or `http://host:port` of the HTTP port. */
  readonly address: string;
  /** Overrides the token of the client at this node. */
  readonly token?: string;
  /** Endpoint id that the node must prove; without it the first one seen is kept. */
  readonly pin?: string;
}

export interface ClientOptions {
  readonly addresses: readonly (string | ClientTarget)[];
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

export interface CallOptions {
  /** Time for this call, retries included. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Reads only: the local state of the node that answers, perhaps old. */
  readonly stale?: boolean;
  /** Writes only: refuse with PRECONDITION_FAILED unless the object was last changed at this index. */
  readonly ifMatchIndex?: number;
  /** Writes only: the same key applies once. Default: a fresh one per call, kept over its retries. */
  readonly idempotencyKey?: string;
}

export interface Health {
  readonly healthy: true;
  readonly nodeId: number;
  readonly clusterId: string;
  /** Serving with a known leader, and caught up. */
  readonly ready: boolean;
  /** Why it is not ready; empty when it is. */
  readonly reason: string;
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
  readonly nodes: ClientGroups["nodes"];
  readonly members: ClientGroups["members"];
  readonly cluster: ClientGroups["cluster"];
  readonly #endpoints: readonly NodeEndpoint[];
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #timeoutMs: number;
  readonly #unreachableMs: number;
  /** Position of the address that answered last. */
  #current = 0;

  constructor(options: ClientOptions) {
    if (options.addresses.length === 0) {
      throw new BlixardError("INVALID_ARGUMENT", "a client needs at least one address", { hint: "Use HOST:PORT." });
    }
    const pins = options.pins ?? memoryPins();
    this.#endpoints = options.addresses.map((given) => makeEndpoint(given, options, pins));
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#timeoutMs = options.timeoutMs ?? defaultRetryPolicy.timeoutMs;
    this.#unreachableMs = options.unreachableMs ?? defaultRetryPolicy.unreachableMs;
    const call: CallFunction = (name, request, callOptions) => this.call(name, request, callOptions);
    const groups = makeGroups(call, (chunks, callOptions) => this.#uploadBlob(chunks, callOptions), this.#clock);
    this.kv = groups.kv;
    this.vms = groups.vms;
    this.images = groups.images;
    this.tickets = groups.tickets;
    this.tokens = groups.tokens;
    this.nodes = groups.nodes;
    this.members = groups.members;
    this.cluster = groups.cluster;
  }

  /** The address that answered last. */
  get address(): string {
    return this.#endpoint().address.text;
  }

  /** Calls a method of the node service. Retries until it has an answer that will not change, or the time is over. */
  async call<Name extends HttpMethodName>(
    name: Name,
    request: RequestOf<Name>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Name>> {
    const encoded = encodeCall(name, request, options.stale ?? false);
    const callHeaders: Record<string, string> = { ...encoded.headers };
    if (methods[name as MethodName].writes) {
      callHeaders[headers.idempotencyKey] = options.idempotencyKey ?? toHex(this.#random.bytes(16));
    }
    if (options.ifMatchIndex !== undefined) callHeaders[headers.ifMatch] = String(options.ifMatchIndex);
    return await this.#retrying(options, async (exchange) => {
      const answer = await exchange({ ...encoded, headers: callHeaders });
      return decodeAnswer(name, answer);
    });
  }

  /** Resolves when a node answers that it is alive; says whether it serves. Needs no token. */
  async healthCheck(options: CallOptions = {}): Promise<Health> {
    return await this.#retrying(options, async (exchange) => {
      const answer = await exchange({ verb: "GET", path: "/healthz", headers: {} });
      if (answer.status !== 200) throw decodeError(answer);
      return JSON.parse(answer.body.toString("utf8")) as Health;
    });
  }

  status(options: CallOptions = {}): Promise<NodeStatus> {
    return this.call("status.get", {}, options);
  }

  /** Who answers at the address; needs no token. */
  identity(options: CallOptions = {}): Promise<Identity> {
    return this.call("identity.get", {}, options);
  }

  /** A fresh verified connection to the node that answered last, for protocols of its own such as a websocket. */
  async dial(): Promise<{ readonly socket: Duplex; readonly host: string; readonly token: string | undefined }> {
    return await this.#retrying({}, async () => {
      const endpoint = this.#endpoint();
      const socket = await endpoint.dial();
      return { socket, host: endpoint.host(), token: endpoint.token };
    });
  }

  close(): void {
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Blobs are not retried: the stream can be read only once. */
  async #uploadBlob(
    chunks: AsyncIterable<Uint8Array>,
    options: CallOptions,
  ): Promise<{ digest: string; sizeBytes: number; nodeId: number }> {
    const answer = await this.#endpoint().exchange({
      verb: "POST",
      path: "/v1/blobs",
      headers: { "content-type": "application/octet-stream" },
      body: chunks,
      timeoutMs: options.timeoutMs ?? blobTimeoutMs,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    if (answer.status >= 400) throw decodeError(answer);
    return JSON.parse(answer.body.toString("utf8")) as { digest: string; sizeBytes: number; nodeId: number };
  }

  #endpoint(): NodeEndpoint {
    const endpoint = this.#endpoints[this.#current % this.#endpoints.length];
    if (endpoint === undefined) throw new BlixardError("INVALID_ARGUMENT", "the client has no address");
    return endpoint;
  }

  #retrying<T>(
    options: CallOptions,
    work: (exchange: (request: Omit<HttpExchange, "timeoutMs">) => Promise<HttpAnswer>) => Promise<T>,
  ): Promise<T> {
    const policy = { timeoutMs: options.timeoutMs ?? this.#timeoutMs, unreachableMs: this.#unreachableMs };
    const deps = { clock: this.#clock, random: this.#random };
    return withRetries(deps, policy, options.signal, async (remainingMs) => {
      const at = this.#current;
      const endpoint = this.#endpoint();
      // With several addresses, one that hangs must leave time for the others.
      const timeoutMs = Math.ceil(this.#endpoints.length === 1 ? remainingMs : Math.min(remainingMs, attemptMsMax));
      try {
        return await work((request) =>
          endpoint.exchange({
            ...request,
            timeoutMs,
            headers: { [headers.timeoutMs]: String(timeoutMs), ...request.headers },
            ...(options.signal === undefined ? {} : { signal: options.signal }),
          }),
        );
      } catch (error) {
        // Only the call that failed here moves on, so that parallel failures skip one address, not several.
        if (this.#current === at) this.#current = (at + 1) % this.#endpoints.length;
        throw error;
      }
    });
  }
}

const blobTimeoutMs = 600_000;
const attemptMsMax = 5_000;

function makeEndpoint(given: string | ClientTarget, options: ClientOptions, pins: PinStore): NodeEndpoint {
  const target = typeof given === "string" ? { address: given } : given;
  const pin = target.pin ?? options.pin;
  return new NodeEndpoint({
    address: parseNodeAddress(target.address),
    token: target.token ?? options.token,
    pins: pin === undefined ? pins : { get: () => pin, set: () => {} },
  });
}
