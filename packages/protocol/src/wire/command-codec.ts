/**
 * Commands as bytes of the log: one byte with the feature level that the entry needs, then the record. A node stops
 * before an entry above its own level, so that it never misreads one. An entry at or below it is read as its level knew
 * commands, by every release alike: what came later is unknown to it.
 */
import { BlixardError, messageOf } from "@blixard/common";
import { z } from "zod";
import { type Command, commandEnvelope, commands } from "../api/contract.ts";
import type { CommandTable } from "../api/definitions.ts";
import { featureLevels } from "../api/feature-level.ts";
import { limits } from "../limits.ts";
import { levelOfSchema, levelOfValue } from "./schema-level.ts";
import { decodeValue, encodeValue, readBack } from "./wire-codec.ts";

export interface CommandCodec {
  /** The highest level that is read. */
  readonly level: number;
  readonly commands: CommandTable;
  /** The lowest level at which `command` can be read as it is. @throws INVALID_ARGUMENT for a field that is not known */
  levelOf(command: Command): number;
  /**
   * The bytes are read back before they are given, so that no entry is proposed that a replica refuses.
   * @throws INVALID_ARGUMENT, VALUE_TOO_LARGE when the bytes would be more than `limits.commandBytesMax`
   */
  encode(command: Command): Uint8Array;
  /** @throws NEEDS_UPGRADE for an entry above `level`, INVALID_ARGUMENT for bytes that are no command */
  decode(bytes: Uint8Array): Command;
}

/**
 * What the bytes of this process stand for that nobody has decoded yet. The node that proposes an entry applies the same
 * bytes, and has read them back already. Nobody changes the bytes of an entry.
 */
const encoded = new WeakMap<Uint8Array, { readonly table: CommandTable; readonly command: Command }>();

/** The level that an entry states; 0 for bytes that state none. */
export const entryLevel = (bytes: Uint8Array): number => bytes[0] ?? 0;

/**
 * The codec of a release that knows `table` and reads entries up to `level`.
 * @throws INVARIANT for a table with a schema that could hide a level, or with a default that needs one
 */
export function createCommandCodec(table: CommandTable, level: number): CommandCodec {
  const schema = commandEnvelope.extend({ body: bodySchema(table) });
  // Every part is looked at once, so that a wrong contract stops its program at the start and not at a later request.
  levelOfSchema(schema);
  const raisedLevel = ({ body }: Command) => table[body.type]?.raisesLevelTo?.(body as never) ?? 1;
  const levelOf = (command: Command) => {
    const used = levelOfValue(schema, command, { level: featureLevels.max, unknownFields: "refuse" });
    return Math.max(used, raisedLevel(command));
  };
  const parse = (record: unknown): Command => {
    const parsed = schema.safeParse(record);
    if (parsed.success) return parsed.data as unknown as Command;
    const issue = parsed.error.issues[0];
    throw noCommand(`${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`);
  };
  return {
    level,
    commands: table,
    levelOf,
    encode(command) {
      const record = encodeValue(command, { bytesMax: limits.commandBytesMax - 1 });
      const read = readBack(record);
      const parsed = parse(read);
      const bytes = new Uint8Array(record.length + 1);
      bytes[0] = levelOf(read as Command);
      bytes.set(record, 1);
      encoded.set(bytes, { table, command: parsed });
      return bytes;
    },
    decode(bytes) {
      const needed = entryLevel(bytes);
      if (needed > level) {
        throw new BlixardError(
          "NEEDS_UPGRADE",
          `a command of level ${needed} cannot be read; this release reads ${level}`,
        );
      }
      if (needed === 0) throw noCommand("it states no level");
      const known = encoded.get(bytes);
      encoded.delete(bytes);
      if (known?.table === table) return known.command;
      const record = readRecord(bytes);
      // Release 056bb98 and those before it pass over fields that they do not know.
      const unknownFields = needed <= featureLevels.base ? "drop" : "refuse";
      levelOfValue(schema, record, { level: needed, unknownFields });
      const command = parse(record);
      if (raisedLevel(command) > needed) throw noCommand("it raises the cluster above its own level");
      return command;
    },
  };
}

/** Of this release. */
export const commandCodec: CommandCodec = createCommandCodec(commands, featureLevels.own);
export const encodeCommand = (command: Command): Uint8Array => commandCodec.encode(command);
export const decodeCommand = (bytes: Uint8Array): Command => commandCodec.decode(bytes);

function bodySchema(table: CommandTable) {
  const bodies = Object.entries(table).map(([type, { body, since }]) =>
    z.object({ type: z.literal(type), ...body.shape }).meta({ since }),
  );
  const [first, ...others] = bodies;
  if (first === undefined) throw new BlixardError("INVARIANT", "the log has commands");
  return z.discriminatedUnion("type", [first, ...others]);
}

function readRecord(bytes: Uint8Array): unknown {
  try {
    return decodeValue(bytes.subarray(1), { stored: true });
  } catch (error) {
    throw noCommand(messageOf(error), error);
  }
}

function noCommand(why: string, cause?: unknown): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `not a command: ${why}`, cause === undefined ? {} : { cause });
}
