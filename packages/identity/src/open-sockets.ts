/** Keeps the connections of a TLS server: those in the middle of a handshake in bounded places, and all, to end them at once. */
import type { Socket } from "node:net";
import type { Server, TLSSocket } from "node:tls";
import { SharedPlaces, shareOfAddress } from "./shared-places.ts";

export interface FollowSocketsOptions {
  /** Connections at once that have not shaken hands. An honest handshake takes milliseconds. Default: 256. */
  readonly handshakesMax?: number;
  /** Told of the address that lost a connection in the middle of its handshake to another. */
  readonly onEvicted?: (share: string) => void;
}

const handshakesMaxDefault = 256;

/**
 * Follows the connections from now on; the function that it returns ends all of them at once. Connections that never finish
 * their handshake cannot fill the server: see `SharedPlaces`. TLS ends before the socket below it: a TLS socket that is
 * destroyed after the one below is freed at once, also while Node.js still reads from it, and a garbage collection in that
 * moment ends the process (SIGSEGV, Node.js 20).
 */
export function followSockets(server: Server, options: FollowSocketsOptions = {}): () => void {
  const secured = new Set<TLSSocket>();
  const below = new Set<Socket>();
  const follow = <S extends Socket>(sockets: Set<S>, socket: S) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };
  const { handshakesMax: placesMax = handshakesMaxDefault, onEvicted } = options;
  const handshakes = new SharedPlaces<Socket>({
    placesMax,
    evict: (socket, share) => {
      socket.destroy();
      onEvicted?.(share);
    },
  });
  /** The TCP sockets in the middle of a handshake, by the other end. */
  const shaking = new Map<string, Socket>();
  server.on("connection", (socket) => {
    follow(below, socket);
    const peer = peerOf(socket);
    shaking.set(peer, socket);
    handshakes.take(socket, shareOfAddress(socket.remoteAddress));
    socket.once("close", () => {
      handshakes.leave(socket);
      if (shaking.get(peer) === socket) shaking.delete(peer);
    });
  });
  server.on("secureConnection", (socket) => {
    follow(secured, socket);
    const peer = peerOf(socket);
    const tcp = shaking.get(peer);
    shaking.delete(peer);
    if (tcp !== undefined) handshakes.leave(tcp);
  });
  return () => {
    for (const socket of [...secured, ...below]) socket.destroy();
  };
}

/** The same for a TCP socket and for the TLS socket over it. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
