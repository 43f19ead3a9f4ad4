/**
 * Bearer tokens that were shown before and were good. One that is shown again is looked up by its text, which spares its hash
 * and the comparison with every record; what it opens now is read from the state each time. A token that is not known is no
 * key here, so that strangers take no places. How long a look-up takes depends on a hash of the text under a secret of this
 * process, and tells nothing about the tokens that are kept.
 */
import type { AuthenticatedCaller } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { isGood } from "../state-machine/token.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { tokenHolder } from "./token.ts";

/** Tokens that are kept; the one that was kept for longest goes first. */
const shownTokensMax = 256;

export class ShownTokens {
  readonly #parts: Pick<NodeParts, "sha256" | "clock">;
  /** By text. A record under the same id may be another token by now. */
  readonly #shown = new Map<string, { readonly id: string; readonly tokenHash: string | undefined }>();

  constructor(parts: Pick<NodeParts, "sha256" | "clock">) {
    this.#parts = parts;
  }

  /** As `tokenHolder`. */
  holderOf(state: ClusterState, text: string): AuthenticatedCaller | undefined {
    const shown = this.#shown.get(text);
    if (shown !== undefined) {
      const record = state.tokens.get(shown.id);
      if (record?.tokenHash === shown.tokenHash && record !== undefined && isGood(record, this.#parts.clock.unixMs())) {
        return { actor: { kind: "token", id: record.id }, access: record.role };
      }
      this.#shown.delete(text);
    }
    const holder = tokenHolder(state, this.#parts, text);
    if (holder !== undefined) this.#keep(text, holder.actor.id, state);
    return holder;
  }

  #keep(text: string, id: string, state: ClusterState): void {
    const [oldest] = this.#shown.keys();
    if (this.#shown.size >= shownTokensMax && oldest !== undefined) this.#shown.delete(oldest);
    this.#shown.set(text, { id, tokenHash: state.tokens.get(id)?.tokenHash });
  }
}
