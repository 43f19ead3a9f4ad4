/** The certificate of the other end of a TLS connection. */
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";

/** Node gives a client the certificate of its server once only, and undefined from then on. */
const seen = new WeakMap<TLSSocket, X509Certificate>();

export function peerCertificateOf(socket: TLSSocket): X509Certificate | undefined {
  const certificate = seen.get(socket) ?? socket.getPeerX509Certificate();
  if (certificate !== undefined) seen.set(socket, certificate);
  return certificate;
}
