/** A certificate authority of an operator, for tests. */
import { randomBytes } from "node:crypto";
import { type Clock, toHex } from "@blixard/common";
import { privateKeyOfSeed, publicKeyOfSeed, seedBytes } from "../ed25519.ts";
import { signCertificate } from "../node-certificate.ts";
import type { OperatorTls } from "../operator-tls.ts";

const hourMs = 3_600_000;

export class TestCa {
  readonly #clock: Clock;
  readonly #seed = new Uint8Array(randomBytes(seedBytes));
  readonly #name = `test-ca-${toHex(new Uint8Array(randomBytes(4)))}`;
  /** PEM of its own certificate. */
  readonly ca: string;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.ca = this.#sign(this.#name, publicKeyOfSeed(this.#seed), hourMs);
  }

  /** A certificate and a key that have nothing to do with the key of any node. */
  issue(subject: string, validMs = hourMs): OperatorTls {
    const seed = new Uint8Array(randomBytes(seedBytes));
    return {
      cert: this.#sign(subject, publicKeyOfSeed(seed), validMs, "machine.example"),
      key: privateKeyOfSeed(seed).export({ format: "pem", type: "pkcs8" }).toString(),
      ca: this.ca,
    };
  }

  #sign(subject: string, publicKey: Uint8Array, validMs: number, dnsName?: string): string {
    const nowMs = this.#clock.unixMs();
    return signCertificate({
      subject,
      publicKey,
      issuer: this.#name,
      issuerSeed: this.#seed,
      notBeforeUnixMs: nowMs - 2 * hourMs,
      notAfterUnixMs: nowMs + validMs,
      ...(dnsName === undefined ? {} : { dnsName }),
    });
  }
}
