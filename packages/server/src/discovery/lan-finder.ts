/**
 * Finds members on the local network by multicast DNS (RFC 6762): a node that misses members asks for a name made of the
 * cluster id, and those that hear it answer with their endpoint id and addresses. A node on a loopback address asks and
 * answers on loopback only. What is heard is a hint, never a proof: the dial proves the key.
 */
import { createHash } from "node:crypto";
import { isIPv4 } from "node:net";
import { parseNodeAddress } from "@blixard/client";
import type { ClusterEndpoint, PeerFinder } from "@blixard/cluster";
import { isLoopbackHost, type Logger, messageOf, offAbort, onAbort } from "@blixard/common";
import { addressSchema, endpointIdSchema, limits } from "@blixard/protocol";
import makeMdns, { type MulticastDNS, type QueryPacket, type ResponsePacket } from "multicast-dns";

export interface LanFinderOptions {
  /** Empty until the node is in a cluster: it does not answer before. */
  readonly clusterId: () => string;
  readonly endpointId: string;
  readonly addresses: readonly string[];
  /** `host:port` that the node is bound to: says on which interfaces it asks and answers. */
  readonly bind: string;
  readonly logger: Logger;
}

export interface LanFinder extends PeerFinder {
  close(): Promise<void>;
}

const multicastGroup = "224.0.0.251";
/** How long answers are awaited after a question. */
const listenMs = 400;
/** One answer is heard by all who asked; more of them within this time would tell nothing new. */
const answerIntervalMs = 100;
const endpointsFoundMax = limits.nodesMax;

/** Opens the socket; a machine without multicast gets a finder that finds nobody. */
export function createLanFinder(options: LanFinderOptions): LanFinder {
  return new MulticastFinder(options);
}

class MulticastFinder implements LanFinder {
  readonly kind = "lan";
  readonly #options: LanFinderOptions;
  readonly #mdns: MulticastDNS;
  #listener: ((packet: ResponsePacket) => void) | undefined;
  #answerTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: LanFinderOptions) {
    this.#options = options;
    const { host } = parseNodeAddress(options.bind);
    const onLoopback = isLoopbackHost(host);
    const own = onLoopback ? "127.0.0.1" : isIPv4(host) && host !== "0.0.0.0" ? host : undefined;
    this.#mdns = makeMdns({
      // Bound to the group, the socket gets nothing that was sent to an address of this machine.
      bind: multicastGroup,
      ...(own === undefined ? {} : { interface: own }),
    });
    const unavailable = (error: unknown) => {
      options.logger.log("debug", "multicast does not work here", { error: messageOf(error) });
    };
    this.#mdns.on("error", unavailable);
    this.#mdns.on("warning", () => {});
    this.#mdns.on("query", (packet) => this.#onQuery(packet));
    this.#mdns.on("response", (packet) => this.#listener?.(packet));
  }

  async find(wanted: ReadonlySet<string>, options: { readonly signal: AbortSignal }): Promise<ClusterEndpoint[]> {
    const name = this.#name();
    if (this.#closed || name === undefined) return [];
    const found = new Map<string, ClusterEndpoint>();
    await new Promise<void>((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        offAbort(options.signal, finish);
        this.#listener = undefined;
        resolve();
      };
      const timer = setTimeout(finish, listenMs);
      onAbort(options.signal, finish);
      this.#listener = (packet) => {
        for (const endpoint of endpointsIn(packet, name)) {
          if (found.size < endpointsFoundMax) found.set(endpoint.endpointId, endpoint);
        }
        if ([...wanted].every((endpointId) => found.has(endpointId))) finish();
      };
      this.#mdns.query([{ name, type: "TXT" }]);
    });
    return [...found.values()];
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    clearTimeout(this.#answerTimer);
    return new Promise((resolve) => this.#mdns.destroy(() => resolve()));
  }

  /** The cluster id itself stays untold. */
  #name(): string | undefined {
    const clusterId = this.#options.clusterId();
    if (clusterId === "") return undefined;
    const hash = createHash("sha256").update(`blixard/lan/1 ${clusterId}`).digest("hex").slice(0, 32);
    return `${hash}._blixard._udp.local`;
  }

  #onQuery({ questions = [] }: QueryPacket): void {
    const name = this.#name();
    if (name === undefined || this.#answerTimer !== undefined) return;
    if (!questions.some((question) => question.name === name && question.type === "TXT")) return;
    this.#answerTimer = setTimeout(() => {
      this.#answerTimer = undefined;
      const { endpointId, addresses } = this.#options;
      const data = [
        `id=${endpointId}`,
        ...addresses.slice(0, limits.addressesPerNodeMax).map((text) => `addr=${text}`),
      ];
      this.#mdns.respond([{ name, type: "TXT", ttl: 10, data }]);
    }, answerIntervalMs);
    this.#answerTimer.unref();
  }
}

/** What the records under `name` say; anything that is not in the form is left out. */
function endpointsIn(packet: ResponsePacket, name: string): ClusterEndpoint[] {
  return (packet.answers ?? []).flatMap((answer) =>
    answer.type === "TXT" && answer.name === name ? (endpointIn([answer.data].flat()) ?? []) : [],
  );
}

/** Reads `id=` and `addr=` from the strings of one TXT record. */
export function endpointIn(strings: readonly (string | Uint8Array)[]): ClusterEndpoint | undefined {
  const texts = strings.map((text) => (typeof text === "string" ? text : Buffer.from(text).toString("utf8")));
  const valuesOf = (key: string) => texts.filter((text) => text.startsWith(key)).map((text) => text.slice(key.length));
  const endpointId = endpointIdSchema.safeParse(valuesOf("id=")[0]);
  const addresses = valuesOf("addr=").filter((text) => addressSchema.safeParse(text).success);
  if (!endpointId.success || addresses.length === 0) return undefined;
  return { endpointId: endpointId.data, addresses: addresses.slice(0, limits.addressesPerNodeMax) };
}
