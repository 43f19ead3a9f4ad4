/**
 * Carries the frames of private networks between the switches of nodes: over TLS, where one reaches the other, else over Iroh, whose
 * binding moves a few MiB/s. It is loaded by the process of the switch, with a key that lives as long as that: the node says to other
 * members which key that is.
 */
import { randomBytes } from "node:crypto";
import { directAddresses, formatHostPort, hostOf } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { NodeTls } from "@blixard/identity";
import type { Connection } from "@blixard/transport";
import { createIrohAdapter, type IrohAdapter, type IrohAdapterOptions } from "@blixard/transport/iroh";
import type { CarrierEndpoint, FrameCarrier, FrameLink } from "@blixard/vm-manager";
import { connectTls, listenTls } from "./switch-tls.ts";

/** Where it is bound: the address of the node, and ports that the system chooses. */
export type CarrierSettings = Pick<IrohAdapterOptions, "bind" | "relay" | "relayUrls" | "discovery">;

const lane = "blixard/frames/1";

export async function openCarrier(settings: CarrierSettings): Promise<FrameCarrier> {
  const secretKey = randomBytes(32);
  const tls = new NodeTls({ clock: systemClock, secretKey });
  const adapter = createIrohAdapter({ ...settings, secretKey, lanes: [lane] });
  await adapter.bind();
  let admits = (_: string): boolean => false;
  let onLink = (_: FrameLink): void => {};
  const listener = await listenTls(tls, hostOf(settings.bind), {
    admits: (endpointId) => admits(endpointId),
    onLink: (link) => onLink(link),
  });
  return {
    endpoint: () => {
      const addresses = adapter.addresses();
      const hosts = new Set(directAddresses(addresses).map(hostOf));
      const direct = [...hosts].map((host) => formatHostPort(host, listener.port));
      return { endpointId: adapter.endpointId, direct, addresses };
    },
    connect: async (to, signal) => (await connectTls(tls, to, signal)) ?? (await connectIroh(adapter, to, signal)),
    listen: async (admitsKey, take) => {
      admits = admitsKey;
      onLink = take;
      await adapter.listen((connection) => {
        if (admits(connection.remoteEndpointId)) void acceptIroh(connection, take);
        else connection.close("unknown switch");
      });
    },
    close: async () => {
      await Promise.all([listener.close(), adapter.close()]);
    },
  };
}

async function connectIroh(adapter: IrohAdapter, to: CarrierEndpoint, signal: AbortSignal): Promise<FrameLink> {
  const connection = await adapter.connect(to, lane, { signal });
  try {
    const stream = await connection.openStream();
    return linkOf(connection, stream);
  } catch (error) {
    connection.close("no stream");
    throw error;
  }
}

/** A connection has one stream; whoever opens more is not listened to. */
async function acceptIroh(connection: Connection, onLink: (link: FrameLink) => void): Promise<void> {
  const stream = await connection.acceptStream().catch(() => undefined);
  if (stream === undefined) connection.close("no stream");
  else onLink(linkOf(connection, stream));
}

function linkOf(connection: Connection, stream: Pick<FrameLink, "read" | "write">): FrameLink {
  return {
    remoteEndpointId: connection.remoteEndpointId,
    write: (bytes) => stream.write(bytes),
    read: (bytesMax) => stream.read(bytesMax),
    close: (reason) => connection.close(reason),
  };
}
