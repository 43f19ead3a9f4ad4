/**
 * Commands as bytes of the log: one byte of format version, then the record. What a version cannot read is refused by
 * its number, so that a node of release N meets an entry of N+1 without misreading it. A command carries the level that
 * its definition says (`since`).
 */
import { BlixardError, messageOf } from "@blixard/common";
import { type Command, commandSchema, commands } from "../api/contract.ts";
import { limits } from "../limits.ts";
import { decodeValue, encodeValue } from "./wire-codec.ts";

/** The highest version that is read. */
export const commandFormatVersion = 2;

/** @throws VALUE_TOO_LARGE when the bytes would be more than `limits.commandBytesMax` */
export function encodeCommand(command: Command): Uint8Array {
  const record = encodeValue(command, { bytesMax: limits.commandBytesMax - 1 });
  const bytes = new Uint8Array(record.length + 1);
  bytes[0] = commands[command.body.type].since;
  bytes.set(record, 1);
  return bytes;
}

/** @throws UNSUPPORTED_VERSION for another format, INVALID_ARGUMENT for bytes that are no command */
export function decodeCommand(bytes: Uint8Array): Command {
  const version = bytes[0] ?? 0;
  if (version < 1 || version > commandFormatVersion) {
    throw new BlixardError("UNSUPPORTED_VERSION", `a command of format ${version} cannot be read`, {
      hint: "Upgrade this node to the release of the leader.",
    });
  }
  let record: unknown;
  try {
    record = decodeValue(bytes.subarray(1), { stored: true });
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `not a command: ${messageOf(error)}`, { cause: error });
  }
  const parsed = commandSchema.safeParse(record);
  if (parsed.success) return parsed.data as Command;
  const issue = parsed.error.issues[0];
  throw new BlixardError("INVALID_ARGUMENT", `not a command: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`);
}
