/** Decides which snapshots are sent to which peer, and which of the arriving ones are taken. */

import type { RaftCore } from "../core/raft-core.ts";
import type { HardState, Message, NodeId, Snapshot } from "../core/types.ts";
import type { Applier } from "../disk/applier.ts";
import type { LogCache } from "../disk/log-cache.ts";
import { isMember } from "../membership/configuration.ts";
import type { SnapshotSender } from "./snapshot-sender.ts";

export interface SnapshotExchangeDeps {
  readonly id: NodeId;
  readonly core: RaftCore;
  readonly cache: LogCache;
  readonly applier: Pick<Applier<unknown>, "takeSnapshot" | "installing">;
  readonly sender: SnapshotSender;
  readonly post: (task: () => void) => void;
  readonly hardState: () => HardState;
}

export class SnapshotExchange {
  readonly #deps: SnapshotExchangeDeps;
  /** Peers whose snapshot failed since the last tick. The core hears of it at the next tick, so that it cannot spin. */
  readonly #failed = new Set<NodeId>();

  constructor(deps: SnapshotExchangeDeps) {
    this.#deps = deps;
  }

  /** Sends a snapshot that names the member: a new member refuses one that was taken before it was added. */
  send(to: NodeId, message: Message): void {
    const { sender, cache, applier, post } = this.#deps;
    if (message.snapshot !== undefined && isMember(message.snapshot.confState, to)) {
      sender.start(to, message, cache.newestSnapshot);
      return;
    }
    const retry = () => post(() => this.#failed.add(to));
    applier.takeSnapshot().then(retry, retry);
  }

  sent(to: NodeId, ok: boolean): void {
    const { post, core } = this.#deps;
    if (ok) post(() => core.reportSnapshot(to, true));
    else this.#failed.add(to);
  }

  tick(): void {
    if (this.#failed.size === 0) return;
    for (const id of this.#failed) this.#deps.core.reportSnapshot(id, false);
    this.#failed.clear();
  }

  needs(snapshot: Snapshot): "yes" | "no" | "has_it" | "later" {
    const { id, cache, applier, hardState } = this.#deps;
    if (!isMember(snapshot.confState, id)) return "no";
    if (applier.installing) return "later";
    if (snapshot.index <= hardState().commit) return "has_it";
    const isInLog = snapshot.index >= cache.base.index && snapshot.index <= cache.lastIndex();
    return isInLog && cache.term(snapshot.index) === snapshot.term ? "has_it" : "yes";
  }
}
