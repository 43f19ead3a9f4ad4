/** The finders that a configuration asks for. */
import type { PeerFinder } from "@blixard/cluster";
import type { NodeConfig } from "../node-settings.ts";
import { createAddressFinder } from "./address-finder.ts";
import { createLanFinder, type LanFinderOptions } from "./lan-finder.ts";

export interface Finders {
  readonly all: readonly PeerFinder[];
  close(): Promise<void>;
}

/** `transportKind`: addresses in memory mean nothing on a network. */
export function openFinders(config: NodeConfig, transportKind: string, lan: LanFinderOptions): Finders {
  const { peers, dnsServers, discovery } = config;
  const listed = peers.length === 0 ? [] : [createAddressFinder({ entries: peers, dnsServers })];
  if (!discovery || transportKind === "memory") return { all: listed, close: async () => {} };
  const finder = createLanFinder(lan);
  return { all: [...listed, finder], close: () => finder.close() };
}
