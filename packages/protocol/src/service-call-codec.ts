/**
 * One service call between nodes as the payload of a transport call. A member sends `forward` with the whole call and
 * the identity of the first caller in it. Anyone sends the name of a method with the same payload, whose actor and
 * access then count for nothing: they follow from the key of the connection.
 */
import { BlixardError, messageOf } from "@blixard/common";
import { z } from "zod";
import { limits } from "./limits.ts";
import { decodeRecord, encodeRecord } from "./record-codec.ts";
import type { CallMeta } from "./services.ts";

/** The transport method with which a member passes on a call in the name of its caller. */
export const forwardRpcMethod = "forward";

export interface ServiceCall {
  readonly name: string;
  readonly request: unknown;
  readonly meta: CallMeta;
}

const callMetaSchema = z.object({
  requestId: z.string().max(limits.requestIdLengthMax),
  actor: z.object({ kind: z.enum(["token", "node", "system"]), id: z.string().max(128) }),
  access: z.enum(["anyone", "viewer", "admin", "node"]),
  timeoutMs: z
    .number()
    .min(0)
    .max(24 * 3600 * 1000),
  stale: z.boolean(),
  ifMatchIndex: z.int().min(0).exactOptional(),
  hops: z.int().min(0).max(16),
}) satisfies z.ZodType<CallMeta>;

const serviceCallSchema = z.object({ name: z.string().max(64), request: z.unknown(), meta: callMetaSchema });

export function encodeServiceCall(call: ServiceCall): Uint8Array {
  return encodeRecord(call);
}

/** @throws INVALID_ARGUMENT for bytes that are no call */
export function decodeServiceCall(bytes: Uint8Array): ServiceCall {
  let record: unknown;
  try {
    record = decodeRecord(bytes);
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `not a service call: ${messageOf(error)}`, { cause: error });
  }
  const parsed = serviceCallSchema.safeParse(record);
  if (!parsed.success) throw new BlixardError("INVALID_ARGUMENT", "not a service call");
  return parsed.data;
}

export function encodeServiceResponse(response: unknown): Uint8Array {
  return encodeRecord(response);
}

/** @throws FRAME_CORRUPT for bytes that are no value */
export function decodeServiceResponse(bytes: Uint8Array): unknown {
  try {
    return decodeRecord(bytes);
  } catch (error) {
    throw new BlixardError("FRAME_CORRUPT", `not a service response: ${messageOf(error)}`, { cause: error });
  }
}
