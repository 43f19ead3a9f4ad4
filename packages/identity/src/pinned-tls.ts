/**
 * TLS to the bind port of a node. The certificate is self-signed by the node's Ed25519 key, so the key in it is the
 * node's endpoint id and takes the place of a certificate authority: it is learned at the first use, or given.
 */
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { BlixardError, notApplied, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { nodeKeyTls } from "@blixard/protocol";
import { endpointIdOf } from "./fetch-peer-identity.ts";

export interface PinnedConnection {
  readonly socket: TLSSocket;
  /** Public key that the other side proved, 64 hexadecimal digits. */
  readonly endpointId: string;
}

export interface PinnedTlsOptions {
  /** The only endpoint id to accept; undefined accepts any and reports it. */
  readonly pin: string | undefined;
  readonly timeoutMs: number;
}

/**
 * Connects and verifies before a byte of the caller can be sent.
 * @throws UNREACHABLE, UNKNOWN_PEER (another key than the pinned one), UNSUPPORTED_VERSION (not TLS)
 */
export function connectPinned(host: string, port: number, options: PinnedTlsOptions): Promise<PinnedConnection> {
  return new Promise((resolve, reject) => {
    // The chain is not checked because there is none: the key itself is compared below.
    const socket = tlsConnect({ host, port, ...nodeKeyTls, rejectUnauthorized: false, minVersion: "TLSv1.3" });
    socket.setTimeout(options.timeoutMs, () =>
      socket.destroy(new BlixardError("UNREACHABLE", `no TLS answer within ${options.timeoutMs} ms`)),
    );
    socket.once("error", (error) => reject(connectError(error, host, port)));
    socket.once("secureConnect", () => {
      socket.setTimeout(0);
      const endpointId = endpointIdOf(socket);
      if (endpointId === undefined || (options.pin !== undefined && endpointId !== options.pin)) {
        socket.destroy();
        reject(mismatch(host, port, endpointId, options.pin));
        return;
      }
      resolve({ socket, endpointId });
    });
  });
}

function mismatch(host: string, port: number, found: string | undefined, pin: string | undefined): BlixardError {
  if (found === undefined) {
    return notApplied("UNKNOWN_PEER", `${host}:${port} does not prove a node key (Ed25519 certificate)`, {
      hint: "Is this the bind port of a Blixard node? Use http://HOST:PORT for a plain HTTP port.",
    });
  }
  return notApplied("UNKNOWN_PEER", `${host}:${port} is node key ${found}, but ${pin} was pinned for it`, {
    hint: "Another node answers at this address. If that is intended, forget the pinned key first.",
    details: { endpointId: found },
  });
}

function connectError(error: unknown, host: string, port: number): BlixardError {
  const code = systemErrorCodeOf(error) ?? "";
  if (code === "EPROTO" || code.startsWith("ERR_SSL_")) {
    return notApplied("UNSUPPORTED_VERSION", `${host}:${port} does not speak TLS`, {
      cause: error,
      hint: "If this is the plain HTTP port of a node, write http://HOST:PORT.",
    });
  }
  return notApplied("UNREACHABLE", `cannot connect to ${host}:${port}: ${reasonOf(error)}`, {
    cause: error,
  });
}
