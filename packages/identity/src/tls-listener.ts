/**
 * The TCP side of the bind port: TLS 1.3 with the node's certificate. The caller decides which protocol it speaks inside; a
 * node mounts its HTTP server on it. Everybody can read the node's identity from the certificate alone.
 */
import { createServer, type Server, type TLSSocket } from "node:tls";
import { BlixardError, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { followSockets } from "./open-sockets.ts";

export interface TlsListenerOptions {
  /** An IP address without brackets. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly key: string;
  readonly cert: string;
  /** PEM of the CA that certificates of clients are checked against; `authorized` of the socket says the result. */
  readonly ca?: string;
  /** The protocols that the caller speaks, the preferred first. Default: `http/1.1`. */
  readonly alpnProtocols?: readonly string[];
  /** Asks clients for a certificate, and accepts any: the caller decides which keys it trusts. Default: false. */
  readonly requestCert?: boolean;
  /** Connections at once that have not shaken hands: see `followSockets`. Those that have, the caller bounds. */
  readonly handshakesMax?: number;
  readonly onEvicted?: (share: string) => void;
}

export interface TlsListener {
  /** The bound port. */
  readonly port: number;
  /** Uses another certificate for new connections. */
  setCertificate(certificate: Pick<TlsListenerOptions, "key" | "cert" | "ca">): void;
  /** Stops listening and ends what is open. */
  close(): Promise<void>;
}

const handshakeTimeoutMs = 10_000;

/**
 * Listens and hands over each connection whose handshake is done, for example to
 * `(socket) => httpServer.emit("connection", socket)`.
 * @throws PORT_IN_USE, INVALID_ARGUMENT
 */
export function createTlsListener(
  options: TlsListenerOptions,
  onSecureConnection: (socket: TLSSocket) => void,
): Promise<TlsListener> {
  const { host, port, key, cert, ca, alpnProtocols = ["http/1.1"], requestCert = false } = options;
  const server = createServer(
    {
      key,
      cert,
      ...(ca === undefined ? {} : { ca }),
      minVersion: "TLSv1.3",
      ALPNProtocols: [...alpnProtocols],
      requestCert,
      rejectUnauthorized: false,
      handshakeTimeout: handshakeTimeoutMs,
    },
    (socket) => {
      // A reset is no error here: the user of the socket sees its end. Without a listener it would end the process.
      socket.on("error", () => {});
      onSecureConnection(socket);
    },
  );
  server.on("tlsClientError", () => {});
  const endAll = followSockets(server, options);
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(toListenError(error, host, port)));
    server.listen({ host, port, exclusive: true }, () => resolve(listenerOf(server, endAll)));
  });
}

function listenerOf(server: Server, endAll: () => void): TlsListener {
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    port,
    setCertificate: (certificate) => server.setSecureContext({ ...certificate, minVersion: "TLSv1.3" }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        endAll();
      }),
  };
}

function toListenError(error: unknown, host: string, port: number): BlixardError {
  const where = `TCP ${host}:${port}`;
  if (systemErrorCodeOf(error) === "EADDRINUSE") {
    return new BlixardError("PORT_IN_USE", `${where} is in use`, {
      hint: "Choose another port with --bind, or end the program that holds it.",
      cause: error,
    });
  }
  return new BlixardError("INVALID_ARGUMENT", `${where} cannot be bound: ${reasonOf(error)}`, { cause: error });
}
