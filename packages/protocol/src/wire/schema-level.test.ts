import { describe, expect, it } from "@jest/globals";
import { z } from "zod";
import { levelOfSchema, levelOfValue } from "./schema-level.ts";

const later = z.string().meta({ since: 4 });
const schema = z.object({
  name: z.string(),
  note: later.exactOptional(),
  depth: z.int().meta({ since: 5 }).exactOptional(),
  kind: z.enum(["plain", "cloud"]).meta({ sinceValue: { cloud: 6 } }),
  disks: z.array(z.object({ size: z.int(), cache: z.boolean().nullable().meta({ since: 7 }) }).partial()),
  source: z.discriminatedUnion("type", [
    z.object({ type: z.literal("file"), path: z.string() }),
    z.object({ type: z.literal("volume"), id: z.string() }).meta({ since: 8 }),
  ]),
  labels: z.record(z.string(), z.union([z.string(), z.int().meta({ since: 10 })])).exactOptional(),
  at: z.union([z.string(), z.object({ port: z.int(), relay: z.string().meta({ since: 9 }).exactOptional() })]),
});
const plain = {
  name: "a",
  kind: "plain",
  disks: [{ size: 1 }],
  source: { type: "file", path: "/" },
  at: "host",
};

const level = (value: unknown, readLevel = 255) =>
  levelOfValue(schema, value, { level: readLevel, unknownFields: "refuse" });

describe("levelOfValue", () => {
  it.each<[string, object, number]>([
    ["nothing that came later", {}, 1],
    ["an optional field", { note: "n" }, 4],
    ["another optional field", { depth: 2 }, 5],
    ["a value of an enum", { kind: "cloud" }, 6],
    ["a field deep inside", { disks: [{ size: 1 }, { size: 2, cache: true }] }, 7],
    ["an option of a union", { source: { type: "volume", id: "v" } }, 8],
    ["a field in an option without discriminator", { at: { port: 1, relay: "r" } }, 9],
    ["no value of a record", { labels: { a: "x" } }, 1],
    ["a value of a record", { labels: { a: "x", b: 1 } }, 10],
    ["several of them", { note: "n", kind: "cloud" }, 6],
  ])("finds %s", (_, fields, expected) => {
    expect(level({ ...plain, ...fields })).toBe(expected);
    if (expected === 1) return;
    expect(level({ ...plain, ...fields }, expected)).toBe(expected);
    expect(() => level({ ...plain, ...fields }, expected - 1)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("refuses a field that nobody knows, and names where it is", () => {
    expect(() => level({ ...plain, disks: [{ size: 1, speed: 2 }] })).toThrow("disks.0.speed");
    expect(() => level({ ...plain, constructor: "x" })).toThrow("constructor");
    expect(level({ ...plain, extra: undefined })).toBe(1);
  });

  it("drops what is unknown where that is asked for, but not from a strict object", () => {
    const value = { ...plain, note: "n", extra: 1, disks: [{ size: 1, speed: 2 }] };
    expect(levelOfValue(schema, value, { level: 3, unknownFields: "drop" })).toBe(1);
    expect(value).toEqual(plain);
    const strict = { a: 1, b: 2 };
    const drop = () => levelOfValue(z.object({ a: z.int() }).strict(), strict, { level: 3, unknownFields: "drop" });
    expect(drop).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("leaves a value of another form to the parser", () => {
    expect(level({ ...plain, disks: "none", source: 4, at: null })).toBe(1);
  });
});

describe("levelOfSchema", () => {
  it("is the highest level that the schema names", () => {
    expect(levelOfSchema(schema)).toBe(10);
    expect(levelOfSchema(z.object({ a: later.nullable() }))).toBe(4);
  });

  it("refuses a kind of schema that could hide a level", () => {
    expect(() => levelOfSchema(z.object({ a: z.map(z.string(), later) }))).toThrow("map");
  });

  it.each<[string, z.ZodType]>([
    ["a field that came later", later.default("x")],
    ["a field that says so outside of its default", z.string().default("x").meta({ since: 4 })],
    [
      "a value that came later",
      z
        .enum(["plain", "cloud"])
        .meta({ sinceValue: { cloud: 4 } })
        .default("cloud"),
    ],
    ["an object with a field that came later", z.object({ note: later.exactOptional() }).default({ note: "x" })],
  ])("refuses a default that puts %s into every value", (_, field) => {
    const refused = expect.objectContaining({
      code: "INVARIANT",
      message: expect.stringMatching(/level 4, .* use \.exactOptional\(\)/),
    });
    // Twice: nothing that was refused is taken for known.
    for (let round = 0; round < 2; round++) expect(() => levelOfSchema(z.object({ a: field }))).toThrow(refused);
  });

  it("lets a default be that needs no level", () => {
    const size = z.object({ note: later.exactOptional(), depth: z.int().default(1) });
    const kind = z.enum(["plain", "cloud"]).meta({ sinceValue: { cloud: 6 } });
    expect(
      levelOfSchema(z.object({ size: size.meta({ since: 5 }).exactOptional(), kind: kind.default("plain") })),
    ).toBe(6);
  });
});
