/** The port to the certificates of this node. */
import type { CertificateView } from "@blixard/protocol";

export interface NodeCertificates {
  list(): readonly Omit<CertificateView, "nodeId">[];
  /** New ones for new connections. @throws INVALID_ARGUMENT when an operator's files do not fit: nothing changes then */
  rotate(): void;
}

/** Where no TLS is spoken. */
export const noCertificates: NodeCertificates = { list: () => [], rotate: () => {} };
