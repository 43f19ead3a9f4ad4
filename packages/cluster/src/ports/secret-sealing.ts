/** The port to the key of this node, for secrets that travel in the replicated state. */
import type { SealedSecret } from "@blixard/protocol";

export interface SecretSealing {
  /** Only the holders of these node keys can open it, and only with this `context`. */
  seal(secret: Uint8Array, context: string, endpointIds: readonly string[]): SealedSecret;
  /** The same secret for the holders of other keys; undefined when this node cannot open it. */
  reseal(sealed: SealedSecret, context: string, endpointIds: readonly string[]): SealedSecret | undefined;
  /** Undefined when this node cannot. Never throws. */
  open(sealed: SealedSecret, context: string): Uint8Array | undefined;
}
