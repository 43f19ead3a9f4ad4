/** The key-value store. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method, stream } from "./definitions.ts";
import { pageRequest, pageSchema } from "./list.ts";
import { rowChanges } from "./row-changes.ts";
import { writtenSchema } from "./values.ts";

export const kvEntrySchema = z.object({
  key: z.string(),
  value: z.string(),
  /** Log index of the last write to the key. */
  index: z.int().min(0),
});
export type KvEntry = z.infer<typeof kvEntrySchema>;

const keySchema = z
  .string()
  .min(1)
  .refine((key) => new TextEncoder().encode(key).length <= limits.keyBytesMax, "the key is too long");
/** Its length is checked by the handler, which answers VALUE_TOO_LARGE. */
const valueSchema = z.string();
/**
 * A key in the log. Its limit counts UTF-16 units, where that of a request counts bytes and so is never wider: what one
 * release applied, every later one applies.
 */
const loggedKeySchema = z.string().min(1).max(limits.keyBytesMax);
const loggedValueSchema = z.string().max(limits.valueBytesMax);

export const kvCommands = {
  "kv.put": command({
    since: 1,
    subject: ({ key }) => key,
    body: z.object({ key: loggedKeySchema, value: loggedValueSchema }),
  }),
  "kv.delete": command({ since: 1, subject: ({ key }) => key, body: z.object({ key: loggedKeySchema }) }),
  /** null stands for "absent", in both places. */
  "kv.cas": command({
    since: 1,
    subject: ({ key }) => key,
    body: z.object({ key: loggedKeySchema, from: z.string().nullable(), to: loggedValueSchema.nullable() }),
  }),
};

export const kvMethods = {
  "kv.get": method({
    summary: "the value of a key",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/kv/{key}" }],
    request: z.object({ key: keySchema }).strict(),
    response: kvEntrySchema,
  }),
  "kv.list": method({
    summary: "keys under a prefix, with their values",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/kv" }],
    request: z
      .object({ ...pageRequest, prefix: z.string().default(""), limit: pageRequest.limit.unwrap().default(1_000) })
      .strict(),
    /** `truncated`: more keys follow. */
    response: pageSchema(kvEntrySchema).extend({ truncated: z.boolean() }),
  }),
  "kv.put": method({
    summary: "write a value",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "PUT", path: "/v1/kv/{key}" }],
    client: { group: "kv", name: "put", args: ["key", "value"] },
    request: z.object({ key: keySchema, value: valueSchema }).strict(),
    response: writtenSchema,
  }),
  "kv.delete": method({
    summary: "remove a key",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/kv/{key}" }],
    client: { group: "kv", name: "delete", args: ["key"] },
    request: z.object({ key: keySchema }).strict(),
    response: writtenSchema,
  }),
  /** Writes `to` if the present value is `from`; null stands for "absent". */
  "kv.cas": method({
    summary: "swap a value if it is what is expected",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/kv/{key}/cas" }],
    client: { group: "kv", name: "cas", args: ["key", "from", "to"] },
    request: z.object({ key: keySchema, from: valueSchema.nullable(), to: valueSchema.nullable() }).strict(),
    response: writtenSchema.extend({ swapped: z.boolean() }),
  }),
};

export const kvStreams = {
  /**
   * The keys that are there, `current` once, and then every later state of them: of changes that follow one another
   * faster than they are read, the last one.
   */
  "kv.watch": stream({
    summary: "keys under a prefix as they are, and then as they change",
    place: "read",
    access: "viewer",
    http: { path: "/v1/kv", flag: "watch" },
    request: z.object({ prefix: z.string().default("") }).strict(),
    input: z.never(),
    output: z.discriminatedUnion("type", [
      z.object({ type: z.literal("put"), entry: kvEntrySchema }),
      z.object({ type: z.literal("delete"), key: z.string() }),
      z.object({ type: z.literal("current") }),
    ]),
  }),
};

export type KvChange = z.output<(typeof kvStreams)["kv.watch"]["output"]>;

/**
 * What `kv.watch` says of the step from what its reader has seen, the index of each key, to what is there now. `touched`
 * are the keys that may differ, by default all. `seen` becomes what is there now.
 */
export function kvChanges(
  seen: Map<string, number>,
  present: ReadonlyMap<string, KvEntry>,
  touched?: Iterable<string>,
): KvChange[] {
  const { deleted, written } = rowChanges(seen, present, ({ index }) => index, touched);
  return [
    ...deleted.map((key): KvChange => ({ type: "delete", key })),
    ...written.map((entry): KvChange => ({ type: "put", entry })),
  ];
}
