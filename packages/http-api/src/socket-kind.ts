/** What a kind of websocket into VMs has to say of itself. */
import type { StreamName, StreamOutputOf, StreamRequestOf } from "@blixard/protocol";
import type { WebSocket } from "ws";

/** Opens a stream of the node service for a caller; resolves when the node has accepted it. */
export type OpenStream = <Name extends StreamName>(
  name: Name,
  request: StreamRequestOf<Name>,
  input: AsyncIterable<Uint8Array>,
) => Promise<AsyncIterable<StreamOutputOf<Name>>>;

/** A stream that is open, for a websocket that is about to be. */
export interface SocketSession {
  /** Resolves when there is no more to send. */
  run(webSocket: WebSocket): Promise<void>;
  /** The input ends. */
  end(): void;
}

/** One kind of websocket. */
export interface SocketKind {
  readonly stream: "vm.console" | "vm.forward";
  /** Its groups are what `open` gets. */
  readonly path: RegExp;
  readonly subprotocol: string;
  readonly sessionsMax: number;
  readonly gauge: "consoles" | "forwards";
  /** @throws INVALID_ARGUMENT */
  open(parts: readonly string[], query: URLSearchParams, stream: OpenStream): Promise<SocketSession>;
}
