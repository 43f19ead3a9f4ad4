/** Counts the connections that lost their places to others, and logs it seldom. */
import { type Clock, type Logger, type Metrics, SeldomLog } from "@blixard/common";
import { bindDoorMetrics, type Door } from "./metrics.ts";

export interface EvictionsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class Evictions {
  readonly #metrics: ReturnType<typeof bindDoorMetrics>;
  readonly #log: SeldomLog;

  constructor(deps: EvictionsDeps) {
    this.#metrics = bindDoorMetrics(deps.metrics);
    this.#log = new SeldomLog(deps, "warn", "ended connections because others needed their places");
  }

  /** `share`: the address or the key that held most places. */
  count(door: Door, share: string): void {
    this.#metrics.evictions.add(1, { door });
    this.#log.happened({ door, from: share });
  }
}
