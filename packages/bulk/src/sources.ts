/** The sources of one transfer: which of them are still asked, and why others are not any more. */
import { BlixardError, type Clock, errorCodeOf, type Logger, messageOf, sleep } from "@blixard/common";
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkRoutes } from "./bulk-routes.ts";
import type { BulkRequestOptions, BulkRoute } from "./bulk-types.ts";
import type { BulkMetrics } from "./metrics.ts";

export type DropReason = "lost" | "missing" | "busy" | "bad_chunk" | "bad_manifest";

export interface SourcesDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: BulkMetrics;
  readonly routes: Pick<BulkRoutes, "channelTo">;
}

export class Sources {
  readonly #deps: SourcesDeps;
  readonly #all: readonly number[];
  readonly #dropped = new Map<number, DropReason>();
  readonly #routes = new Map<number, BulkRoute>();

  constructor(deps: SourcesDeps, nodeIds: readonly number[]) {
    this.#deps = deps;
    this.#all = [...new Set(nodeIds)].slice(0, bulkLimits.sourcesMax);
  }

  alive(): number[] {
    return this.#all.filter((nodeId) => !this.#dropped.has(nodeId));
  }

  routeTo(nodeId: number): BulkRoute {
    return this.#routes.get(nodeId) ?? "direct";
  }

  /** Asks one source; one that is busy is asked again for a while. One that fails is dropped. */
  async request(nodeId: number, path: string, options: BulkRequestOptions): Promise<Uint8Array> {
    for (let busyReplies = 0; ; busyReplies++) {
      try {
        const channel = await this.#deps.routes.channelTo(nodeId);
        this.#routes.set(nodeId, channel.route);
        return await channel.request(path, options);
      } catch (error) {
        options.signal.throwIfAborted();
        const busy = errorCodeOf(error) === "OVERLOADED";
        if (!busy || busyReplies >= bulkLimits.busyRepliesMax) {
          this.drop(nodeId, reasonOf(error), messageOf(error));
          throw error;
        }
        await sleep(this.#deps.clock, bulkLimits.busyPauseMs * (1 + busyReplies), options.signal);
      }
    }
  }

  drop(nodeId: number, reason: DropReason, detail?: string): void {
    if (this.#dropped.has(nodeId)) return;
    this.#dropped.set(nodeId, reason);
    this.#deps.metrics.sourcesDropped.add(1, { reason });
    const level = reason === "bad_chunk" || reason === "bad_manifest" ? "warn" : "info";
    this.#deps.logger.log(level, "a bulk transfer gave up a source", { nodeId, reason, detail });
  }

  /** Asks lost and busy sources again. Sources that gave wrong bytes, or that do not hold the object, stay dropped. */
  reviveLost(): void {
    for (const [nodeId, reason] of this.#dropped) {
      if (reason === "lost" || reason === "busy") this.#dropped.delete(nodeId);
    }
  }

  /** @throws UNAVAILABLE */
  refuse(what: string): never {
    const dropped = [...this.#dropped].map(([nodeId, reason]) => `node ${nodeId} ${reason}`).join(", ");
    throw new BlixardError("UNAVAILABLE", `no source gives ${what} (${dropped})`, {
      hint: "Check that a node that holds it runs and can be reached.",
    });
  }
}

function reasonOf(error: unknown): DropReason {
  const code = errorCodeOf(error);
  if (code === "NOT_FOUND" || code === "INVALID_ARGUMENT") return "missing";
  return code === "OVERLOADED" ? "busy" : "lost";
}
