/**
 * The identity of a node: one Ed25519 key, which Iroh proves by itself and TLS proves by a certificate made of it.
 */
export { endpointIdOfSeed } from "./ed25519.ts";
export { Evictions, type EvictionsDeps } from "./evictions.ts";
export type { FetchPeerIdentityOptions } from "./fetch-peer-identity.ts";
export { endpointIdOf, fetchPeerIdentity } from "./fetch-peer-identity.ts";
export type { NodeCertificate, NodeCertificateOptions } from "./node-certificate.ts";
export { createNodeCertificate } from "./node-certificate.ts";
export type { NodeKey } from "./node-key.ts";
export { loadOrCreateNodeKey } from "./node-key.ts";
export { type CertificateView, NodeTls, type NodeTlsOptions, refusalOf } from "./node-tls.ts";
export { type FollowSocketsOptions, followSockets } from "./open-sockets.ts";
export { checkOperatorTls, type OperatorTls } from "./operator-tls.ts";
export type { PinnedConnection, PinnedTlsOptions } from "./pinned-tls.ts";
export { connectPinned } from "./pinned-tls.ts";
export type { PinStore } from "./pins.ts";
export { memoryPins } from "./pins.ts";
export { createSealing, type Sealing } from "./secret-sealing.ts";
export { SharedPlaces, type SharedPlacesOptions, shareOfAddress } from "./shared-places.ts";
export type { Signatures } from "./signatures.ts";
export { createSignatures } from "./signatures.ts";
export { ticketCrypto } from "./ticket-crypto.ts";
export type { TlsListener, TlsListenerOptions } from "./tls-listener.ts";
export { createTlsListener } from "./tls-listener.ts";
