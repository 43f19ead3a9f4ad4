/** A dual adapter on loopback, with a switch that cuts Iroh alone. */
import { parseHostPort } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { bindSharedPort } from "../bind-shared-port.ts";
import { createDualAdapter, type DualAdapterOptions } from "../dual/index.ts";
import { createGrpcAdapter } from "../grpc/index.ts";
import { createIrohAdapter } from "../iroh/index.ts";
import type { TransportAdapter } from "../transport-types.ts";
import { createFaultyAdapter, type FaultyAdapter } from "./faulty-adapter.ts";

export interface TestDualAdapter {
  readonly adapter: TransportAdapter;
  /** The Iroh side of it. */
  readonly iroh: FaultyAdapter;
}

export async function createTestDualAdapter(
  secretKey: Uint8Array,
  options: Partial<DualAdapterOptions> = {},
): Promise<TestDualAdapter> {
  const { tcp, udp } = await bindSharedPort(
    0,
    async (port) => {
      const grpc = createGrpcAdapter({ clock: systemClock, secretKey, bind: `127.0.0.1:${port}` });
      await grpc.bind();
      return { grpc, port: parseHostPort(grpc.addresses()[0] ?? "")?.port ?? 0, close: () => grpc.close() };
    },
    async (port) => {
      const iroh = createIrohAdapter({ secretKey, bind: `127.0.0.1:${port}`, relay: false, discovery: false });
      await iroh.bind();
      return iroh;
    },
  );
  const iroh = createFaultyAdapter(udp);
  const adapter = createDualAdapter({ clock: systemClock, preferred: iroh, fallback: tcp.grpc, ...options });
  return { adapter, iroh };
}
