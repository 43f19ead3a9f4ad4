import { seededRandom } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asNodeId } from "../core/types.ts";
import { describePeerTransport } from "./describe-peer-transport.ts";
import { MemoryNetwork } from "./memory-network.ts";

describePeerTransport("MemoryNetwork", { describe, it, expect }, async (handlersOf) => {
  const network = new MemoryNetwork({ random: seededRandom(1) });
  const transports = new Map([1, 2, 3].map(asNodeId).map((id) => [id, network.transport(id)]));
  for (const [id, transport] of transports) transport.bind(handlersOf(id));
  return {
    transport: (id) => transports.get(id) ?? network.transport(id),
    crash: async (id) => network.unbind(id),
    dispose: async () => {},
  };
});
