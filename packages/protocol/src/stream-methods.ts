/**
 * The stream methods of the node service, beside the unary ones: items come out while the call lasts, and may go in as
 * well. Access and schemas stand here once for every transport that carries them.
 */
import { z } from "zod";
import { type KvEntry, kvEntrySchema, nameSchema } from "./records.ts";
import type { MethodAccess } from "./services.ts";

/** Where a stream method runs: `read` on the node that was asked, `owner` on the node that owns the named VM. */
export type StreamPlace = "read" | "owner";

export interface StreamMethod<Request extends z.ZodType, Input extends z.ZodType, Output extends z.ZodType> {
  readonly place: StreamPlace;
  readonly access: MethodAccess;
  readonly request: Request;
  readonly input: Input;
  readonly output: Output;
}

function stream<Request extends z.ZodType, Input extends z.ZodType, Output extends z.ZodType>(
  place: StreamPlace,
  access: MethodAccess,
  request: Request,
  input: Input,
  output: Output,
): StreamMethod<Request, Input, Output> {
  return { place, access, request, input, output };
}

const bytesSchema: z.ZodType<Uint8Array, Uint8Array> = z.instanceof(Uint8Array);
/** `offset` is in the whole serial output; negative counts from its end. */
const consoleRequest = z.object({ name: nameSchema, offset: z.int() }).strict();
const consolePiece = z.object({ offset: z.int(), data: bytesSchema });

export const streamMethods = {
  /** The serial console of a VM: input goes in, output comes out until the caller leaves. */
  "vm.console": stream(
    "owner",
    "admin",
    consoleRequest,
    bytesSchema,
    consolePiece.extend({
      /** True once: the input has ended, and the VM has been given all of it. */
      inputEnded: z.boolean(),
    }),
  ),
  /** The serial output of a VM, as it comes. */
  "vm.logs": stream("owner", "viewer", consoleRequest, z.never(), consolePiece),
  /**
   * The keys that are there, `current` once, and then every later state of them: of changes that follow one another
   * faster than they are read, the last one.
   */
  "kv.watch": stream(
    "read",
    "viewer",
    z.object({ prefix: z.string().default("") }).strict(),
    z.never(),
    z.discriminatedUnion("type", [
      z.object({ type: z.literal("put"), entry: kvEntrySchema }),
      z.object({ type: z.literal("delete"), key: z.string() }),
      z.object({ type: z.literal("current") }),
    ]),
  ),
} as const;

export type StreamMethods = typeof streamMethods;
export type StreamName = keyof StreamMethods;
export type StreamRequestOf<Name extends StreamName> = z.input<StreamMethods[Name]["request"]>;
export type ParsedStreamRequestOf<Name extends StreamName> = z.output<StreamMethods[Name]["request"]>;
export type StreamInputOf<Name extends StreamName> = z.output<StreamMethods[Name]["input"]>;
export type StreamOutputOf<Name extends StreamName> = z.output<StreamMethods[Name]["output"]>;

/**
 * What `kv.watch` says of the step from what its reader has seen, the index of each key, to what is there now. `touched`
 * are the keys that may differ, by default all. `seen` becomes what is there now. What is deleted comes first, the rest in
 * the order in which it was written.
 */
export function kvChanges(
  seen: Map<string, number>,
  present: ReadonlyMap<string, KvEntry>,
  touched: Iterable<string> = new Set([...seen.keys(), ...present.keys()]),
): StreamOutputOf<"kv.watch">[] {
  const changes: StreamOutputOf<"kv.watch">[] = [];
  const written: KvEntry[] = [];
  for (const key of touched) {
    const entry = present.get(key);
    if (entry === undefined) {
      if (seen.delete(key)) changes.push({ type: "delete", key });
    } else if (seen.get(key) !== entry.index) written.push(entry);
  }
  for (const entry of written.sort((a, b) => a.index - b.index)) {
    seen.set(entry.key, entry.index);
    changes.push({ type: "put", entry });
  }
  return changes;
}
