/** Learns which node answers at an address, from the certificate on the TCP side of its bind port. */
import { connect, type TLSSocket } from "node:tls";
import { abortReason, BlixardError, offAbort, onAbort, parseHostPort, reasonOf, toHex } from "@blixard/common";
import { nodeKeyTls } from "@blixard/protocol";
import { ed25519PublicBytes } from "./ed25519.ts";
import { peerCertificateOf } from "./peer-certificate.ts";

export interface FetchPeerIdentityOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * The endpoint id of the node at `host:port`. The handshake proves that it holds the key, not that it is the node you
 * mean: pin the id after the first use, or compare it with a ticket.
 * @throws UNREACHABLE, DEADLINE_EXCEEDED, CANCELLED, INVALID_ARGUMENT
 */
export function fetchPeerIdentity(address: string, options: FetchPeerIdentityOptions): Promise<string> {
  const parsed = parseHostPort(address);
  if (parsed === undefined || parsed.port === 0) {
    return Promise.reject(
      new BlixardError("INVALID_ARGUMENT", `${address} is not an address`, { hint: "Use HOST:PORT." }),
    );
  }
  if (options.signal?.aborted) return Promise.reject(abortReason(options.signal));
  return new Promise((resolve, reject) => {
    // The certificate is self-signed by design; what it proves is read from its key below.
    const socket = connect({
      ...parsed,
      rejectUnauthorized: false,
      minVersion: "TLSv1.3",
      ALPNProtocols: ["http/1.1"],
      ...nodeKeyTls,
    });
    const end = (settle: () => void) => {
      clearTimeout(timer);
      offAbort(options.signal, abort);
      socket.destroy();
      settle();
    };
    const fail = (error: Error) => end(() => reject(error));
    const abort = () => fail(abortReason(options.signal));
    const timer = setTimeout(
      () => fail(new BlixardError("DEADLINE_EXCEEDED", `${address} did not answer within ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    onAbort(options.signal, abort);
    socket.on("error", (error) => fail(unreachable(address, reasonOf(error), error)));
    socket.on("close", () => fail(unreachable(address, "the connection was closed")));
    socket.on("secureConnect", () => {
      const endpointId = endpointIdOf(socket);
      if (endpointId === undefined) fail(unreachable(address, "what answers there is not a Blixard node"));
      else end(() => resolve(endpointId));
    });
  });
}

/** The endpoint id that the other side of a TLS connection proved; undefined when its key is of another kind. */
export function endpointIdOf(socket: TLSSocket): string | undefined {
  const certificate = peerCertificateOf(socket);
  const bytes = certificate === undefined ? undefined : ed25519PublicBytes(certificate.publicKey);
  return bytes === undefined ? undefined : toHex(bytes);
}

function unreachable(address: string, why: string, cause?: unknown): BlixardError {
  return new BlixardError("UNREACHABLE", `${address}: ${why}`, {
    hint: "Check that the node runs and that its bind port is open for TCP.",
    ...(cause === undefined ? {} : { cause }),
  });
}
