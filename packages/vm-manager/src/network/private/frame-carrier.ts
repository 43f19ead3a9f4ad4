/**
 * The port to what carries frames between the switches of nodes. Its program is given to the switch by its URL and loaded there, so
 * that no frame passes the process of the node, and the switch loads it only when a network reaches over nodes.
 */

/** Where a switch takes connections of others. Its key lives as long as its process, and its node says to members that it is its. */
export interface CarrierEndpoint {
  readonly endpointId: string;
  /** Where it takes connections over TLS, the faster way: `host:port`. */
  readonly direct: readonly string[];
  /** The same over QUIC, with the URLs of relays at which it may listen. */
  readonly addresses: readonly string[];
}

/** One direction: whoever has opened it writes, and the other side reads. */
export interface FrameLink {
  /** Proved by the connection. */
  readonly remoteEndpointId: string;
  /** Resolves when the bytes were handed to the network. */
  write(bytes: Uint8Array): Promise<void>;
  /** About `bytesMax` bytes at most; undefined at the end. */
  read(bytesMax: number): Promise<Uint8Array | undefined>;
  close(reason: string): void;
}

export interface FrameCarrier {
  endpoint(): CarrierEndpoint;
  connect(to: CarrierEndpoint, signal: AbortSignal): Promise<FrameLink>;
  /** `admits`: asked with the key of the other side before anything is read. */
  listen(admits: (endpointId: string) => boolean, onLink: (link: FrameLink) => void): Promise<void>;
  close(): Promise<void>;
}

/** What the program exports as `openCarrier`. `settings` are what the node was given for it. */
export type OpenCarrier = (settings: unknown) => Promise<FrameCarrier>;

/** A program and its settings, as a node tells its switch. */
export interface CarrierProgram {
  readonly url: string;
  readonly settings: unknown;
}
