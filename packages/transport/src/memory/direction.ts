/** One direction between two endpoints of a memory network: what its owner sets, and what those who send over it obey. */
import type { Clock, Random } from "@blixard/common";

export interface Direction {
  blocked: boolean;
  /** The share of writes, 0 to below 1, that must be sent again. */
  lossRate: number;
  latencyMs: number;
  /** Called when the direction is unblocked. */
  readonly waiting: Set<() => void>;
}

/** Time and chance of the whole network. */
export interface MemoryNetworkDeps {
  readonly clock: Clock;
  readonly random: Random;
}
