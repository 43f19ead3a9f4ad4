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
  messageOf,
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
}

export interface NodeHandlers extends ListenerHandlers {
  /** Takes the connections of the bulk lane. */
  readonly onBulk: (socket: TLSSocket) => void;
}

const portMax = 65_535;
const httpPortOffset = 1_000;

/** @throws PORT_IN_USE, INVALID_ARGUMENT; nothing stays bound then */
export async function bindPorts(
  config: NodeConfig,
  seed: Uint8Array,
  tls: NodeTls,
  handlers: NodeHandlers,
  createAdapter: CreateAdapter = createNodeAdapter,
): Promise<BoundPorts> {
  const { host, port } = await resolveBind(config.bind, "--bind");
  const { transport, relay, relayUrls, discovery } = config;
  // Whoever connects before the adapter serves is turned away, and comes again.
  let takeHttp2: Parameters<AdapterOptions["onHttp2"]>[0] = (socket) => socket.destroy();
  const onHttp2: AdapterOptions["onHttp2"] = (take) => {
    takeHttp2 = take;
  };
  const protocols = {
    ...(transport === "iroh" ? {} : { h2: (socket: TLSSocket) => takeHttp2(socket) }),
    [bulkAlpn]: handlers.onBulk,
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
  if (config.http === "off") {
    return { adapter: udp, tls: tcp.listener, plain: undefined, bind: tcp.listener.address, http: "off" };
  }
  try {
    const http = config.http ?? httpDefault(host, port, tcp.port);
    const plainHost = await resolveBind(http, "--http");
    const plain = await listenPlain(formatHostPort(plainHost.host, plainHost.port), handlers, "--http");
    return { adapter: udp, tls: tcp.listener, plain, bind: tcp.listener.address, http: `http://${plain.address}` };
  } catch (error) {
    await Promise.allSettled([tcp.close(), udp.close()]);
    throw error;
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
    throw new BlixardError("INVALID_ARGUMENT", `${flag} ${bind}: the host is not known: ${messageOf(error)}`, {
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
