/** Ids and secrets from the injected source of randomness. */
import { type Random, toHex } from "@blixard/common";

/** A UUID of version 4 (RFC 9562). */
export function randomUuid(random: Random): string {
  const bytes = random.bytes(16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = toHex(bytes);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export function randomRequestId(random: Random): string {
  return toHex(random.bytes(16));
}

const operationIdBytes = 6;

export function randomOperationId(random: Random): string {
  return toHex(random.bytes(operationIdBytes));
}
