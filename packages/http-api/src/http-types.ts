/** What the HTTP server is made of. */
import { assertAtMost, assertBelow, type Clock, type Logger, type Metrics, type Random } from "@blixard/common";
import { limits, serviceCallBytesMax } from "@blixard/protocol";
import type { HttpPlaces, HttpPlacesOptions } from "./http-places.ts";
import type { BlobStore, NodeService } from "./node-service.ts";
import type { PageSessions } from "./page-sessions.ts";

/** What the page consists of, by path: `index.html`, and `assets/NAME`, whose names change with what they hold. */
export type PageFiles = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

export interface HttpDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly nodeId: number;
  readonly endpointId: string;
  readonly clusterId: () => string;
  readonly storageHealthy: () => boolean;
  /** The metrics as Prometheus text. */
  readonly metricsText: () => Promise<string>;
  /** The page at `/`. Default: none. */
  readonly page?: PageFiles | undefined;
}

/** What the routes build on. */
export interface HttpParts extends HttpDeps {
  /** Who answers now. */
  service(): NodeService;
  /** Where uploads go now. */
  blobs(): BlobStore;
  readonly places: HttpPlaces;
  readonly sessions: PageSessions;
}

export interface HttpOptions {
  /** Serves `/v1/debug/*`. */
  readonly debugApi: boolean;
  /** The release, for the description of the API. */
  readonly version: string;
  /** Hosts that the server is bound to and known by; loopback names are always allowed. */
  readonly allowedHosts: readonly string[];
  /** A stream ends whose caller takes nothing for so long. Default: three heartbeats of a stream, 15,000 ms. */
  readonly streamStalledMsMax?: number;
  /** How many connections there are places for. Default: 1,000 of strangers, and 1,000 of callers. */
  readonly places?: HttpPlacesOptions;
}

/** Named limits of the server. */
export const httpLimits = {
  jsonBodyBytesMax: 1024 * 1024,
  headerBytesMax: 16 * 1024,
  callTimeoutMsDefault: 10_000,
  callTimeoutMsMax: 120_000,
  /** A client that sends its request slower than this is cut off. Uploads of blobs have their own limit. */
  requestTimeoutMs: 30 * 60_000,
  headersTimeoutMs: 10_000,
  /** Of TLS; Node.js alone would hold the place of a client that says nothing for two minutes. */
  handshakeTimeoutMs: 10_000,
  keepAliveTimeoutMs: 30_000,
  /** For how long the rest of a body that nobody reads is taken after the answer. */
  unreadBodyMsMax: 500,
  /** Connections of whom no valid token is known, and of those with one: see `HttpPlaces`. */
  strangersMax: 1_000,
  callersMax: 1_000,
  consoleSessionsMax: 256,
  /** Connections to ports of VMs. */
  forwardsMax: 200,
  /** Streams that are open at a time, of all callers. */
  streamsMax: 512,
  consolePendingBytesMax: 256 * 1024,
} as const;

type HttpLimits = Readonly<Record<keyof typeof httpLimits, number>>;

/** Fails where limits contradict each other, or those of the contract. */
export function assertHttpLimits(of: HttpLimits): void {
  const { jsonBodyBytesMax, headerBytesMax, callTimeoutMsDefault, callTimeoutMsMax, requestTimeoutMs } = of;
  const { keyBytesMax, valueBytesMax, consoleReadWaitMsMax } = limits;
  assertBelow(
    { "6 * (keyBytesMax + 2 * valueBytesMax)": 6 * (keyBytesMax + 2 * valueBytesMax) },
    { jsonBodyBytesMax },
    "a body holds two values of which JSON escapes every character",
  );
  assertBelow({ jsonBodyBytesMax }, { serviceCallBytesMax }, "a body is passed on in one call");
  assertBelow({ "3 * keyBytesMax": 3 * keyBytesMax }, { headerBytesMax }, "a path holds a key of escaped bytes");
  assertAtMost({ callTimeoutMsDefault }, { callTimeoutMsMax }, "a call without a time limit has an allowed one");
  assertBelow({ consoleReadWaitMsMax }, { callTimeoutMsMax }, "a read of a console may wait inside a call");
  assertBelow({ callTimeoutMsMax, headersTimeoutMs: of.headersTimeoutMs }, { requestTimeoutMs }, "a request holds it");
  const { consoleSessionsMax, forwardsMax, streamsMax, callersMax } = of;
  assertBelow(
    { "consoleSessionsMax + forwardsMax + streamsMax": consoleSessionsMax + forwardsMax + streamsMax },
    { callersMax },
    "streams leave connections for calls",
  );
}

assertHttpLimits(httpLimits);
