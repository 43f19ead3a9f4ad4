/** Remembers when each other node was last heard from. */
import type { NodeId } from "../core/types.ts";

export class PeerActivity {
  readonly #id: NodeId;
  readonly #silenceMs: number;
  readonly #nowMs: () => number;
  readonly #heardAtMs = new Map<NodeId, number>();

  constructor(id: NodeId, silenceMs: number, nowMs: () => number) {
    this.#id = id;
    this.#silenceMs = silenceMs;
    this.#nowMs = nowMs;
  }

  heard(id: NodeId): void {
    this.#heardAtMs.set(id, this.#nowMs());
  }

  /** True for this node, and for a node that was heard from within `silenceMs`. */
  isActive(id: NodeId): boolean {
    if (id === this.#id) return true;
    const heardAtMs = this.#heardAtMs.get(id);
    return heardAtMs !== undefined && this.#nowMs() - heardAtMs <= this.#silenceMs;
  }

  /** Forgets nodes that fell silent, so that removed nodes do not stay in memory for ever. */
  tick(): void {
    for (const id of this.#heardAtMs.keys()) if (!this.isActive(id)) this.#heardAtMs.delete(id);
  }
}
