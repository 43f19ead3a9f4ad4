/**
 * One service call between nodes as the payload of a transport call. A member sends `forward` with the whole call and
 * the identity of the first caller in it. Anyone sends the name of a method with the same payload, whose actor and
 * access then count for nothing: they follow from the key of the connection.
 */
import { assertBelow, BlixardError, messageOf } from "@blixard/common";
import { z } from "zod";
import { type CallMeta, callMetaSchema } from "../api/access.ts";
import { limits } from "../limits.ts";
import { rpcFrameOverheadBytes } from "./rpc-codec.ts";
import { decodeValue, encodeValue } from "./wire-codec.ts";

/** Largest call or response in bytes. It holds the largest command and every piece of a list, a log or a blob. */
export const serviceCallBytesMax = 3 * 1024 * 1024;

/** The smallest frame limit of a transport: one frame holds the largest call. */
export const frameBytesMin = serviceCallBytesMax + rpcFrameOverheadBytes;

/** The transport method with which a member passes on a call in the name of its caller. */
export const forwardRpcMethod = "forward";

export interface ServiceCall {
  readonly name: string;
  readonly request: unknown;
  readonly meta: CallMeta;
}

const serviceCallSchema = z.object({ name: z.string().max(64), request: z.unknown(), meta: callMetaSchema });

export function encodeServiceCall(call: ServiceCall): Uint8Array {
  return encodeValue(call, { bytesMax: serviceCallBytesMax });
}

/** @throws INVALID_ARGUMENT for bytes that are no call */
export function decodeServiceCall(bytes: Uint8Array): ServiceCall {
  let record: unknown;
  try {
    record = decodeValue(bytes, { bytesMax: serviceCallBytesMax });
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `not a service call: ${messageOf(error)}`, { cause: error });
  }
  const parsed = serviceCallSchema.safeParse(record);
  if (!parsed.success) throw new BlixardError("INVALID_ARGUMENT", "not a service call");
  return parsed.data;
}

export function encodeServiceResponse(response: unknown): Uint8Array {
  return encodeValue(response, { bytesMax: serviceCallBytesMax });
}

/** @throws FRAME_CORRUPT for bytes that are no value */
export function decodeServiceResponse(bytes: Uint8Array): unknown {
  try {
    return decodeValue(bytes, { bytesMax: serviceCallBytesMax });
  } catch (error) {
    throw new BlixardError("FRAME_CORRUPT", `not a service response: ${messageOf(error)}`, { cause: error });
  }
}

export async function* encodeStreamItems(items: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  for await (const item of items) yield encodeServiceResponse(item);
}

/** Rejects with what `unreadable` makes of bytes that are no value, or none that `schema` takes. */
export async function* decodeStreamItems<Schema extends z.ZodType>(
  items: AsyncIterable<Uint8Array>,
  schema: Schema,
  unreadable: (cause: unknown) => BlixardError,
): AsyncGenerator<z.output<Schema>> {
  for await (const item of items) {
    yield readItem(item, schema, unreadable);
  }
}

function readItem<Schema extends z.ZodType>(
  item: Uint8Array,
  schema: Schema,
  unreadable: (cause: unknown) => BlixardError,
): z.output<Schema> {
  try {
    return schema.parse(decodeServiceResponse(item));
  } catch (error) {
    throw unreadable(error);
  }
}

/** An index and 64 hexadecimal digits, with their names. */
const hashRowBytes = 96;

/** Fails where a call or its answer could be larger than a call may be. */
export function assertCallLimits(of: Readonly<Record<keyof typeof limits, number>>): void {
  const { commandBytesMax, logReadBytesMax, blobPieceBytesMax, consoleReadBytesMax, listMax } = of;
  const pieces = { commandBytesMax, logReadBytesMax, blobPieceBytesMax, consoleReadBytesMax };
  assertBelow(pieces, { serviceCallBytesMax }, "one call carries it, with its envelope");
  const hashes = { "listMax * hashRowBytes": listMax * hashRowBytes };
  assertBelow(hashes, { serviceCallBytesMax }, "one answer lists the hashes of the state");
}

assertCallLimits(limits);
