/**
 * What the TLS connections of a node prove and what they demand of the other side: with nothing else, certificates that
 * each node makes of its own key; with an operator's CA, a certificate of that CA on both sides, and the node's key on top.
 */
import { createHash, X509Certificate } from "node:crypto";
import { createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import { BlixardError, type Clock } from "@blixard/common";
import { isValidNow } from "./certificate-dates.ts";
import { type ProofSide, proveKey, provesKey } from "./channel-proof.ts";
import { endpointIdOf } from "./fetch-peer-identity.ts";
import { createNodeCertificate, type NodeCertificate } from "./node-certificate.ts";
import { certificatesIn, checkOperatorTls, type OperatorTls } from "./operator-tls.ts";
import { peerCertificateOf } from "./peer-certificate.ts";

export interface NodeTlsOptions {
  readonly clock: Clock;
  /** The Ed25519 seed of the node, 32 bytes. */
  readonly secretKey: Uint8Array;
  /** Reads the operator's files, at first and at each rotation. Default: there are none. */
  readonly loadOperator?: () => OperatorTls;
}

/** One certificate that this node shows. */
export interface CertificateView {
  /** `node-key`: made by this node of its own key; `operator-ca`: issued by an operator's CA. */
  readonly kind: "node-key" | "operator-ca";
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly notBeforeUnixMs: number;
  readonly notAfterUnixMs: number;
  /** SHA-256 of the certificate, 64 hexadecimal digits. */
  readonly fingerprint: string;
}

/** What the other side of a connection said of itself beside its certificate. */
export interface ClaimedKey {
  readonly endpointId: string;
  readonly proof: Uint8Array;
}

/** A certificate of the node's own key is replaced when this share of its time has passed. */
const renewAfterShare = 1 / 3;

export class NodeTls {
  readonly endpointId: string;
  readonly #options: NodeTlsOptions;
  readonly #listeners = new Set<() => void>();
  #node: NodeCertificate;
  #renewAtMs = 0;
  #operator: OperatorTls | undefined;
  #context: SecureContext | undefined;

  /** @throws INVALID_ARGUMENT when the operator's files do not fit */
  constructor(options: NodeTlsOptions) {
    this.#options = options;
    this.#operator = this.#loadOperator();
    this.#node = this.#newCertificate();
    this.endpointId = this.#node.endpointId;
  }

  /** Whether the other side must have a certificate of the operator's CA. */
  get demandsCa(): boolean {
    return this.#operator !== undefined;
  }

  /** For listeners: the certificate that is shown unless the client asks for the node's own. PEM texts. */
  shown(): { readonly cert: string; readonly key: string; readonly ca?: string } {
    this.#renewIfDue();
    return this.#operator ?? { cert: this.#node.cert, key: this.#node.key };
  }

  /** For listeners: what a client gets that asks for the node's own certificate by name. */
  nodeKeyContext(): SecureContext {
    this.#renewIfDue();
    const { cert, key } = this.#node;
    return createSecureContext({ cert, key, minVersion: "TLSv1.3" });
  }

  /** For dials. */
  dialContext(): SecureContext {
    this.#renewIfDue();
    this.#context ??= createSecureContext({ ...this.shown(), minVersion: "TLSv1.3" });
    return this.#context;
  }

  /** Proves the node's key to the other end of a connection. */
  prove(socket: TLSSocket, side: ProofSide): ClaimedKey {
    return { endpointId: this.endpointId, proof: proveKey(socket, this.#options.secretKey, side) };
  }

  /** The endpoint id that the other side has proved; undefined when it proved none. */
  identify(socket: TLSSocket, side: ProofSide, claimed: ClaimedKey | undefined): string | undefined {
    if (this.#operator !== undefined) {
      if (!socket.authorized || claimed === undefined) return undefined;
      return provesKey(socket, claimed.endpointId, claimed.proof, side) ? claimed.endpointId : undefined;
    }
    const certificate = peerCertificateOf(socket);
    if (certificate === undefined || !isValidNow(certificate, this.#options.clock)) return undefined;
    return endpointIdOf(socket);
  }

  certificates(): CertificateView[] {
    this.#renewIfDue();
    const [operator] = this.#operator === undefined ? [] : certificatesIn(this.#operator.cert);
    return [
      viewOf("node-key", new X509Certificate(this.#node.cert)),
      ...(operator === undefined ? [] : [viewOf("operator-ca", operator)]),
    ];
  }

  /**
   * Makes a new certificate of the node's key and reads the operator's files again. Connections that are open go on; new
   * ones use the new certificates. @throws INVALID_ARGUMENT when the files do not fit: the old ones stay in use
   */
  rotate(): void {
    this.#operator = this.#loadOperator();
    this.#node = this.#newCertificate();
    this.#changed();
  }

  /** Calls `listener` whenever `shown` gives something else. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  #renewIfDue(): void {
    if (this.#options.clock.elapsedMs() < this.#renewAtMs) return;
    this.#node = this.#newCertificate();
    this.#changed();
  }

  #changed(): void {
    this.#context = undefined;
    for (const listener of this.#listeners) listener();
  }

  #newCertificate(): NodeCertificate {
    const { clock, secretKey } = this.#options;
    const certificate = createNodeCertificate(secretKey, { clock });
    const validMs = certificate.notAfterUnixMs - clock.unixMs();
    this.#renewAtMs = clock.elapsedMs() + renewAfterShare * validMs;
    return certificate;
  }

  #loadOperator(): OperatorTls | undefined {
    const { clock, loadOperator } = this.#options;
    if (loadOperator === undefined) return undefined;
    const operator = loadOperator();
    checkOperatorTls(operator, clock);
    return operator;
  }
}

/** Why a TLS connection did not prove a key, for people. */
export function refusalOf(tls: NodeTls, socket: TLSSocket): BlixardError {
  const why = !tls.demandsCa
    ? "its certificate proves no Ed25519 key, or is out of date"
    : socket.authorized
      ? "it does not prove the key that it claims"
      : `its certificate is not of the CA in --tls-ca (${String(socket.authorizationError ?? "none was shown")})`;
  return new BlixardError("UNKNOWN_PEER", `the endpoint was refused: ${why}`, {
    hint: "All nodes of a cluster must use the same kind of certificate: blixard cert list",
  });
}

function viewOf(kind: CertificateView["kind"], certificate: X509Certificate): CertificateView {
  return {
    kind,
    subject: certificate.subject.replaceAll("\n", ", "),
    issuer: certificate.issuer.replaceAll("\n", ", "),
    serial: certificate.serialNumber,
    notBeforeUnixMs: Date.parse(certificate.validFrom),
    notAfterUnixMs: Date.parse(certificate.validTo),
    fingerprint: createHash("sha256").update(certificate.raw).digest("hex"),
  };
}
