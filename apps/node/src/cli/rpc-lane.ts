/** The RPC lane for commands: an endpoint with the key of a context. Loaded only by commands that use a context. */
import type { RpcCaller, RpcEndpoint, RpcStreamCaller } from "@blixard/client";
import { discardMetrics, hostOf, isLoopbackHost, isRelayUrl, silentLogger, type Timer } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { loadOrCreateNodeKey } from "@blixard/identity";
import { createTransport, type TransportAdapter } from "@blixard/transport";
import { contextKeyPath, type SavedContext } from "./contexts.ts";

export interface OpenLane {
  readonly endpointId: string;
  readonly rpc: RpcCaller;
  readonly stream: RpcStreamCaller;
  close(): Promise<void>;
}

type LaneOptions = Pick<SavedContext, "transport" | "relay" | "discovery"> & { readonly nodes: readonly RpcEndpoint[] };

/** @throws KEY_FILE_TOO_OPEN, UNSUPPORTED when the transport cannot be loaded */
export async function openRpcLane(
  env: Readonly<Record<string, string | undefined>>,
  contextName: string,
  options: LaneOptions,
): Promise<OpenLane> {
  const key = await loadOrCreateNodeKey(await contextKeyPath(env, contextName));
  const adapter = await createAdapter(key.seed, options);
  const shared = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics };
  // No node: it never has sessions, and nobody dials it.
  const transport = createTransport({ ...shared, adapter }, { nodeId: 0 });
  return {
    endpointId: key.endpointId,
    rpc: (to, method, payload, limits) => transport.call(to, method, payload, limits),
    stream: (to, method, payload, limits) => transport.stream(to, method, payload, limits),
    close: () => closeWithin(transport.close(), closePatienceMs),
  };
}

/** An endpoint that has dialled a node which is gone takes up to half a minute to close; a command does not wait for it. */
async function closeWithin(closing: Promise<void>, patienceMs: number): Promise<void> {
  let timer: Timer | undefined;
  const late = new Promise<void>((resolve) => {
    timer = systemClock.setTimer(patienceMs, resolve);
  });
  await Promise.race([closing.catch(() => {}), late]);
  timer?.cancel();
}

const closePatienceMs = 300;

async function createAdapter(secretKey: Uint8Array, options: LaneOptions): Promise<TransportAdapter> {
  const { relay, discovery } = options;
  const local = options.nodes.every(
    ({ addresses }) => addresses.length > 0 && addresses.every((address) => isLoopbackHost(hostOf(address))),
  );
  const bind = local ? "127.0.0.1:0" : "0.0.0.0:0";
  if (options.transport === "grpc") {
    const { createGrpcAdapter } = await import("@blixard/transport/grpc");
    return createGrpcAdapter({ clock: systemClock, secretKey, bind, listener: "external" });
  }
  const { createIrohAdapter } = await import("@blixard/transport/iroh");
  // The relays that the nodes listen at, which may be the cluster's own; without any the public ones.
  const relayUrls = [...new Set(options.nodes.flatMap(({ addresses }) => addresses.filter(isRelayUrl)))];
  return createIrohAdapter({ secretKey, bind, relay, relayUrls, discovery });
}
