/** The connections of a TLS server, to end them all: also those that have not shaken hands yet, of which nobody else knows. */
import type { Socket } from "node:net";
import type { Server, TLSSocket } from "node:tls";

/**
 * Follows the connections from now on; the result ends all of them at once. TLS ends before the socket below it: a TLS
 * socket that is destroyed after the one below is freed at once, also while Node.js still reads from it, and a garbage
 * collection in that moment ends the process (SIGSEGV, Node.js 20).
 */
export function followSockets(server: Server): () => void {
  const secured = new Set<TLSSocket>();
  const below = new Set<Socket>();
  const follow = <S extends Socket>(sockets: Set<S>, socket: S) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };
  server.on("connection", (socket) => follow(below, socket));
  server.on("secureConnection", (socket) => follow(secured, socket));
  return () => {
    for (const socket of [...secured, ...below]) socket.destroy();
  };
}
