/**
 * The identity of a node: one Ed25519 key, which Iroh proves by itself and TLS proves by a certificate made of it.
 */
export type { SharedPort } from "./bind-shared-port.ts";
export { bindSharedPort } from "./bind-shared-port.ts";
export { endpointIdOfSeed } from "./ed25519.ts";
export type { FetchPeerIdentityOptions } from "./fetch-peer-identity.ts";
export { endpointIdOf, fetchPeerIdentity } from "./fetch-peer-identity.ts";
export type { NodeCertificate, NodeCertificateOptions } from "./node-certificate.ts";
export { createNodeCertificate } from "./node-certificate.ts";
export type { NodeKey } from "./node-key.ts";
export { loadOrCreateNodeKey } from "./node-key.ts";
export { type CertificateView, NodeTls, type NodeTlsOptions } from "./node-tls.ts";
export { followSockets } from "./open-sockets.ts";
export type { OperatorTls } from "./operator-tls.ts";
export type { TlsListener, TlsListenerOptions } from "./tls-listener.ts";
export { createTlsListener } from "./tls-listener.ts";
