/** What a request asks for, in few bytes, so that the same request id with another request is noticed. */
import { fromUtf8, toHex } from "@blixard/common";
import type { Sha256 } from "../state-machine/hash-chain.ts";

const hashBytes = 16;

/** 32 hexadecimal digits, alike on every node, whatever the order of the fields. */
export function hashOfRequest(sha256: Sha256, name: string, request: unknown): string {
  return toHex(sha256(fromUtf8(`${name} ${canonical(request)}`)).subarray(0, hashBytes));
}

function canonical(request: unknown): string {
  return flat(request) ?? nested(request);
}

/** Most requests hold nothing but texts, numbers and flags. Undefined for all others. */
function flat(request: unknown): string | undefined {
  if (typeof request !== "object" || request === null || Array.isArray(request)) return undefined;
  const fields: string[] = [];
  for (const [name, value] of Object.entries(request).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (value === undefined) continue;
    const isPlain = value === null || ["string", "number", "boolean"].includes(typeof value);
    // Names that are numbers come first in an object, whatever the order in which they were put there.
    if (!isPlain || /^\d/.test(name)) return undefined;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  }
  return `{${fields.join(",")}}`;
}

function nested(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Uint8Array) return toHex(part);
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
