/** What goes with a call, from the headers and the query of a request. */

import { BlixardError, notApplied, type Random, toHex } from "@blixard/common";
import { type CallMeta, headers, limits } from "@blixard/protocol";
import { httpLimits } from "./http-types.ts";
import type { Caller } from "./node-service.ts";

export interface MetaSource {
  /** Value of a header by its lower-case name. */
  header(name: string): string | undefined;
  query(name: string): string | undefined;
}

/** The id of the request: the caller's idempotency key, or a fresh one. @throws INVALID_ARGUMENT */
export function requestIdOf(source: MetaSource, random: Random): string {
  const key = source.header(headers.idempotencyKey);
  if (key === undefined) return toHex(random.bytes(16));
  if (key.length > limits.requestIdLengthMax || !/^[\x21-\x7e]+$/.test(key)) {
    const message = `Idempotency-Key must be 1 to ${limits.requestIdLengthMax} printable ASCII characters`;
    throw notApplied("INVALID_ARGUMENT", message);
  }
  return key;
}

/** @throws INVALID_ARGUMENT */
export function callMetaOf(source: MetaSource, requestId: string, caller: Caller): CallMeta {
  const meta: { -readonly [Field in keyof CallMeta]: CallMeta[Field] } = {
    requestId,
    actor: caller.actor,
    access: caller.access,
    timeoutMs: timeoutMsOf(source.header(headers.timeoutMs)),
    stale: staleOf(source.query("consistency")),
    hops: 0,
  };
  const ifMatch = source.header(headers.ifMatch);
  if (ifMatch !== undefined) meta.ifMatchIndex = ifMatchIndexOf(ifMatch);
  const since = source.header(headers.idempotencySince);
  if (since !== undefined) meta.sinceIndex = sinceIndexOf(since);
  return meta;
}

function timeoutMsOf(text: string | undefined): number {
  if (text === undefined) return httpLimits.callTimeoutMsDefault;
  const timeoutMs = Number(text);
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1) {
    throw new BlixardError("INVALID_ARGUMENT", `${headers.timeoutMs} must be a number of milliseconds`);
  }
  return Math.min(timeoutMs, httpLimits.callTimeoutMsMax);
}

function staleOf(text: string | undefined): boolean {
  if (text === undefined || text === "linearizable") return false;
  if (text === "stale") return true;
  throw new BlixardError("INVALID_ARGUMENT", `consistency "${text}" is unknown`, {
    hint: "Use ?consistency=stale, or leave it out for a linearizable read.",
  });
}

function sinceIndexOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw notApplied("INVALID_ARGUMENT", "Idempotency-Since must be an index of the log", {
    hint: "Take `index` of GET /v1/identity before the key is used first.",
  });
}

function ifMatchIndexOf(text: string): number {
  const digits = /^"?(\d{1,15})"?$/.exec(text)?.[1];
  if (digits === undefined) {
    throw notApplied("INVALID_ARGUMENT", "If-Match must be the index of the last change", {
      hint: "Take it from `index` or `updatedIndex` of the object.",
    });
  }
  return Number(digits);
}
