/** Keeps the connections of a TLS server, so that all of them can be ended: also those in the middle of a handshake. */
import type { Socket } from "node:net";
import type { Server, TLSSocket } from "node:tls";

/** Connections that have not shaken hands yet; for each one more, the oldest ends. An honest handshake takes milliseconds. */
const handshakesMax = 256;

/**
 * Follows the connections from now on; the function that it returns ends all of them at once. Connections that never finish
 * their handshake cannot fill the server: the oldest of them end when there are too many. TLS ends before the socket below
 * it: a TLS socket that is destroyed after the one below is freed at once, also while Node.js still reads from it, and a
 * garbage collection in that moment ends the process (SIGSEGV, Node.js 20).
 */
export function followSockets(server: Server): () => void {
  const secured = new Set<TLSSocket>();
  const below = new Set<Socket>();
  const follow = <S extends Socket>(sockets: Set<S>, socket: S) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };
  const handshakes = new Map<string, Socket>();
  server.on("connection", (socket) => {
    follow(below, socket);
    const peer = peerOf(socket);
    handshakes.set(peer, socket);
    socket.once("close", () => handshakes.get(peer) === socket && handshakes.delete(peer));
    if (handshakes.size <= handshakesMax) return;
    const [oldest] = handshakes.values();
    oldest?.destroy();
  });
  server.on("secureConnection", (socket) => {
    follow(secured, socket);
    handshakes.delete(peerOf(socket));
  });
  return () => {
    for (const socket of [...secured, ...below]) socket.destroy();
  };
}

/** The same for a TCP socket and for the TLS socket over it. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
