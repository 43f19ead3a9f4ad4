/** What carries the traffic between nodes: Iroh, gRPC on the TLS side of the bind port, or both. */
import type { TLSSocket } from "node:tls";
import type { Clock } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { NodeTls } from "@blixard/identity";
import type { TransportAdapter } from "@blixard/transport";
import { createIrohAdapter, type IrohAdapterOptions } from "@blixard/transport/iroh";
import type { NodeConfig } from "../node-settings.ts";

export interface AdapterOptions extends IrohAdapterOptions {
  readonly transport: NodeConfig["transport"];
  /** The certificates of the bind port. */
  readonly tls: NodeTls;
  /** Says who takes the connections of the bind port that chose HTTP/2. */
  readonly onHttp2: (take: (socket: TLSSocket) => void) => void;
}

/** Makes the adapter between nodes and binds it. @throws PORT_IN_USE */
export type CreateAdapter = (options: AdapterOptions) => Promise<TransportAdapter>;

/** The adapter that `--transport` asks for. */
export async function createNodeAdapter(options: AdapterOptions): Promise<TransportAdapter> {
  const { transport } = options;
  switch (transport) {
    case "iroh":
      return await bindIroh(options);
    case "grpc":
      return await bindGrpc(options, systemClock);
    case "dual": {
      const { createDualAdapter } = await import("@blixard/transport/dual");
      const preferred = await bindIroh(options);
      const fallback = await bindGrpc(options, systemClock);
      return createDualAdapter({ clock: systemClock, preferred, fallback });
    }
    default:
      return transport satisfies never;
  }
}

async function bindIroh(options: AdapterOptions): Promise<TransportAdapter> {
  const { transport: _, onHttp2: __, tls: ___, ...endpoint } = options;
  const adapter = createIrohAdapter(endpoint);
  await adapter.bind();
  return adapter;
}

/** Loaded when it is asked for: a node that talks over Iroh does not pay for it. */
async function bindGrpc({ secretKey, bind, tls, onHttp2 }: AdapterOptions, clock: Clock): Promise<TransportAdapter> {
  const { createGrpcAdapter } = await import("@blixard/transport/grpc");
  const adapter = createGrpcAdapter({ clock, secretKey, tls, bind, listener: "external" });
  await adapter.bind();
  onHttp2((socket) => adapter.accept(socket));
  return adapter;
}
