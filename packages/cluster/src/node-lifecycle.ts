/**
 * How a node that serves ends. It begins with the start, because a store can fail, and the others can say that the node
 * was removed, before the start is over.
 *
 *     serving -> closed
 *        +-----> removed (the others let this node go)
 *        +-----> failed  (a store failed or an invariant broke)
 */
import { type BlixardError, isBlixardError, type Logger, notApplied, toBlixardError, Watch } from "@blixard/common";
import type { Lifecycle } from "./cluster-node-types.ts";

export class NodeLifecycle {
  readonly #logger: Logger;
  readonly watch = new Watch<Lifecycle>({ phase: "serving" });

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Why the node does not serve; undefined while it does. */
  get refusal(): BlixardError | undefined {
    const { phase, error } = this.watch.value;
    if (phase === "serving") return undefined;
    return phase === "closed" ? stopped() : (error ?? stopped());
  }

  /** @throws why the node does not serve */
  assertServing(): void {
    const { refusal } = this;
    if (refusal !== undefined) throw refusal;
  }

  becomeRemoved(error: BlixardError): void {
    if (this.watch.value.phase !== "serving") return;
    this.#logger.log("warn", "this node is no member of the cluster any more");
    this.watch.set({ phase: "removed", error });
  }

  becomeFailed(error: unknown): void {
    const { phase } = this.watch.value;
    if (phase === "closed" || phase === "failed") return;
    const failure = isBlixardError(error) ? error : toBlixardError(error, "INTERNAL", "the node stopped");
    this.watch.set({ phase: "failed", error: failure });
  }

  /** Keeps the error that ended the node before. */
  becomeClosed(): void {
    const { error } = this.watch.value;
    this.watch.set({ phase: "closed", ...(error === undefined ? {} : { error }) });
  }
}

export function stopped(): BlixardError {
  return notApplied("STOPPED", "the node is stopping");
}
