/** Binds what a node serves on: UDP and TLS on one number, plain HTTP on another. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import type { TLSSocket } from "node:tls";
import { bulkAlpn } from "@blixard/bulk";
import {
  BlixardError,
  formatHostPort,
  type HostPort,
  hostOf,
  isLoopbackHost,
  reasonOf,
  requireHostPort,
} from "@blixard/common";
import { type Listener, type ListenerHandlers, listenPlain, listenTls, onlyForThisMachine } from "@blixard/http-api";
import type { NodeTls } from "@blixard/identity";
import { bindSharedPort } from "@blixard/transport";
import type { NodeConfig } from "../node-settings.ts";
import { type AdapterOptions, type CreateAdapter, createNodeAdapter } from "./node-adapter.ts";

export interface BoundPorts {
  readonly adapter: Awaited<ReturnType<CreateAdapter>>;
  readonly tls: Listener;
  /** Absent with `--http off`. */
  readonly plain: Listener | undefined;
  /** `host:port` for both protocols. */
  readonly bind: string;
  /** `http://host:port`, or `off`. */
  readonly http: string;
  /** Sets who takes the connections of the bulk lane. */
  onBulk(take: (socket: TLSSocket) => void): void;
}

const portMax = 65_535;
const httpPortOffset = 1_000;

/** @throws PORT_IN_USE, INVALID_ARGUMENT; nothing stays bound then */
export async function bindPorts(
  config: NodeConfig,
  seed: Uint8Array,
  tls: NodeTls,
  handlers: ListenerHandlers,
  createAdapter: CreateAdapter = createNodeAdapter,
): Promise<BoundPorts> {
  const { host, port } = await resolveBind(config.bind, "--bind");
  const { transport, relay, relayUrls, discovery } = config;
  // Whoever connects before there is somebody to take it is turned away, and comes again.
  const [http2, bulk] = [new Taker(), new Taker()];
  const onHttp2: AdapterOptions["onHttp2"] = (take) => http2.set(take);
  const protocols = {
    ...(transport === "iroh" ? {} : { h2: http2.take }),
    [bulkAlpn]: bulk.take,
  };
  const { tcp, udp } = await bindSharedPort(
    port,
    async (shared) => {
      const served = { ...(config.http === "off" ? onlyForThisMachine(handlers) : handlers), protocols };
      const listener = await listenTls(formatHostPort(host, shared), tls, served, "--bind");
      return { ...listener, close: () => listener.close(0), listener };
    },
    (shared) => {
      const endpoint = { secretKey: seed, bind: formatHostPort(host, shared), relay, relayUrls, discovery };
      return createAdapter({ transport, ...endpoint, tls, onHttp2 });
    },
  );
  const bound = {
    ...{ adapter: udp, tls: tcp.listener, bind: tcp.listener.address },
    onBulk: (take: (socket: TLSSocket) => void) => bulk.set(take),
  };
  if (config.http === "off") return { ...bound, plain: undefined, http: "off" };
  try {
    const http = config.http ?? httpDefault(host, port, tcp.port);
    const plainHost = await resolveBind(http, "--http");
    const plain = await listenPlain(formatHostPort(plainHost.host, plainHost.port), handlers, "--http");
    return { ...bound, plain, http: `http://${plain.address}` };
  } catch (error) {
    await Promise.allSettled([tcp.close(), udp.close()]);
    throw error;
  }
}

/** Who takes the connections of one protocol. */
class Taker {
  #take = (socket: TLSSocket): void => {
    socket.destroy();
  };

  readonly take = (socket: TLSSocket): void => this.#take(socket);

  set(take: (socket: TLSSocket) => void): void {
    this.#take = take;
  }
}

/** Tokens travel over this port as they are, so it stays on loopback unless the operator says otherwise. */
function httpDefault(host: string, wantedPort: number, boundPort: number): string {
  const httpPort = boundPort + httpPortOffset;
  const httpHost = isLoopbackHost(host) ? host : "127.0.0.1";
  return formatHostPort(httpHost, wantedPort === 0 || httpPort > portMax ? 0 : httpPort);
}

/** A name is looked up once: UDP and TCP must be bound to the same address. */
async function resolveBind(bind: string, flag: string): Promise<HostPort> {
  const { host, port } = requireHostPort(bind, flag);
  if (isIP(host) !== 0) return { host, port };
  if (host === "localhost") return { host: "127.0.0.1", port };
  try {
    return { host: (await lookup(host)).address, port };
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `${flag} ${bind}: the host is not known: ${reasonOf(error)}`, {
      cause: error,
      hint: "Use an IP address of this machine.",
    });
  }
}

/** Names that requests may use for this node, besides loopback. */
export function ownHosts(config: NodeConfig): string[] {
  const hosts = new Set<string>([hostname(), ...config.allowedHosts]);
  for (const bind of [config.bind, config.http]) {
    if (bind === undefined || bind === "off") continue;
    const host = hostOf(bind);
    hosts.add(host);
    if (host !== "0.0.0.0" && host !== "::") continue;
    for (const addresses of Object.values(networkInterfaces())) {
      for (const { address } of addresses ?? []) hosts.add(address);
    }
  }
  return [...hosts];
}
