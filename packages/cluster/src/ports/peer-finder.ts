/** The port for looking beyond the address book: the local network, a DNS name, a list in the configuration. */
import type { ClusterEndpoint } from "./cluster-transport.ts";

export interface PeerFinder {
  /** For logs: `lan`, `list`, `dns`. */
  readonly kind: string;
  /**
   * Where the endpoints in `wanted` say they can be reached now. What it answers are hints: a dial proves the key.
   * Finding nobody is an empty answer; an error means that it could not look.
   */
  find(wanted: ReadonlySet<string>, options: { readonly signal: AbortSignal }): Promise<readonly ClusterEndpoint[]>;
}
