/** Sealing without cryptography, for tests and simulations whose nodes have made-up endpoint ids. It keeps to the same rules. */
import { createHash } from "node:crypto";
import { toHex } from "@blixard/common";
import type { SecretSealing } from "../ports/secret-sealing.ts";

const sha256 = (text: string): string => toHex(new Uint8Array(createHash("sha256").update(text).digest()));

/** What is sealed opens for nodes that it names, in its place. */
export function madeUpSealing(endpointId: string): SecretSealing {
  const wrap = (data: string, context: string, endpointIds: readonly string[]) => ({
    data,
    ephemeralKey: sha256(`${context} ${data}`),
    keys: endpointIds.map((holder) => ({ endpointId: holder, wrapped: "" })),
  });
  return {
    seal: (secret, context, endpointIds) => wrap(Buffer.from(secret).toString("base64"), context, endpointIds),
    reseal: (sealed, context, endpointIds) =>
      opens(sealed, context) ? wrap(sealed.data, context, endpointIds) : undefined,
    open: (sealed, context) =>
      opens(sealed, context) ? new Uint8Array(Buffer.from(sealed.data, "base64")) : undefined,
  };

  function opens(sealed: Parameters<SecretSealing["open"]>[0], context: string): boolean {
    const isHolder = sealed.keys.some((key) => key.endpointId === endpointId);
    return isHolder && sealed.ephemeralKey === sha256(`${context} ${sealed.data}`);
  }
}
