/**
 * Certificates of an operator's CA, as the alternative to those that nodes make of their own keys. The CA says who may
 * connect at all; which node it is, its key still proves (see `channel-proof.ts`), so the member list keeps its meaning.
 */
import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { BlixardError, type Clock, reasonOf } from "@blixard/common";

/** PEM texts. */
export interface OperatorTls {
  /** The certificate of this node, and after it those between it and the CA. */
  readonly cert: string;
  readonly key: string;
  /** The CA, or several, that the others must be certified by. */
  readonly ca: string;
}

const pemBlock = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
/** Certificates between the node's own and the CA. */
const chainLengthMax = 8;

/** @throws INVALID_ARGUMENT when the three do not fit together now */
export function checkOperatorTls(tls: OperatorTls, clock: Clock): void {
  try {
    // OpenSSL checks that the key belongs to the certificate.
    createSecureContext({ cert: tls.cert, key: tls.key, ca: tls.ca });
  } catch (error) {
    throw unfit(
      `the files of --tls-cert, --tls-key and --tls-ca do not fit: ${reasonOf(error)}`,
      "Give PEM files: the node's certificate with its chain, its key, and the CA.",
    );
  }
  const own = certificatesIn(tls.cert);
  const [leaf] = own;
  if (leaf === undefined) throw unfit("--tls-cert holds no certificate", "Give a PEM file.");
  const nowMs = clock.unixMs();
  if (nowMs > Date.parse(leaf.validTo) || nowMs < Date.parse(leaf.validFrom)) {
    throw unfit(`the certificate of --tls-cert is valid from ${leaf.validFrom} to ${leaf.validTo}`, "Issue a new one.");
  }
  if (!leadsTo(leaf, own.slice(1), certificatesIn(tls.ca))) {
    throw unfit(
      `--tls-cert was not issued by the CA in --tls-ca (issuer: ${oneLine(leaf.issuer)})`,
      "The others would refuse it. Put intermediate certificates into the file of --tls-cert.",
    );
  }
}

function unfit(why: string, hint: string): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", why, { hint });
}

export function certificatesIn(pem: string): X509Certificate[] {
  return (pem.match(pemBlock) ?? []).slice(0, chainLengthMax).map((block) => new X509Certificate(block));
}

function leadsTo(leaf: X509Certificate, between: readonly X509Certificate[], cas: readonly X509Certificate[]): boolean {
  let current = leaf;
  for (let step = 0; step <= chainLengthMax; step++) {
    const issued = (issuer: X509Certificate) => current.checkIssued(issuer) && current.verify(issuer.publicKey);
    if (cas.some(issued)) return true;
    const next = between.find((candidate) => candidate !== current && issued(candidate));
    if (next === undefined) return false;
    current = next;
  }
  return false;
}

function oneLine(name: string): string {
  return name.replaceAll("\n", ", ");
}
