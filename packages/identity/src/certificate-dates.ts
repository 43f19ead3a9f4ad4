/** Whether a certificate is valid now, with room for clocks that differ. */
import type { X509Certificate } from "node:crypto";
import type { Clock } from "@blixard/common";

/** Clocks of machines that meet for the first time may differ by this much. */
export const clockSkewMs = 24 * 3600 * 1000;

export function isValidNow(certificate: X509Certificate, clock: Clock): boolean {
  const nowMs = clock.unixMs();
  return (
    nowMs >= Date.parse(certificate.validFrom) - clockSkewMs && nowMs <= Date.parse(certificate.validTo) + clockSkewMs
  );
}
