import { fromUtf8, toHex } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import type { StateRecord } from "./ports/state-store.ts";
import { readSnapshot, writeSnapshot } from "./snapshot-format.ts";

const record: StateRecord = { table: "kv", key: fromUtf8("k"), value: Uint8Array.of(1, 2, 3) };
const golden = "424c585301" + "00000009" + "026b76" + "00016b" + "010203" + "ffffffff" + "00000001";

async function* stream<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items;
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const read = async (hex: string) => (await collect(readSnapshot(stream([Buffer.from(hex, "hex")]), 5))).flat();

/** Format 2 states the feature level: here 5. */
const withLevel = golden.replace("424c585301", "424c58530205");

describe("snapshot format 2", () => {
  it("keeps its bytes, and states its level", async () => {
    const chunks = await collect(writeSnapshot(stream([[record]]), () => true, 5));
    expect(toHex(Buffer.concat(chunks))).toBe(withLevel);
    expect(await read(withLevel)).toEqual([record]);
  });

  it("is read however it is cut into pieces", async () => {
    const bytes = Buffer.from(withLevel, "hex");
    const pieces = stream([...bytes].map((byte) => Uint8Array.of(byte)));
    expect((await collect(readSnapshot(pieces, 5))).flat()).toEqual([record]);
  });

  it.each([
    ["of a level above that of the reader", withLevel.replace("424c58530205", "424c58530206")],
    ["of a later format", golden.replace("424c585301", "424c585303")],
  ])("is no damage when it is %s, but needs an upgrade", async (_, hex) => {
    await expect(read(hex)).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
  });
});

describe("snapshot format 1", () => {
  it("keeps its bytes, which releases of the base level read", async () => {
    const chunks = await collect(writeSnapshot(stream([[record]]), () => true, 2));
    expect(toHex(Buffer.concat(chunks))).toBe(golden);
    expect(await read(golden)).toEqual([record]);
  });

  it("writes in pieces, and leaves out what is not kept", async () => {
    const many = Array.from({ length: 300 }, (_, at) => ({
      table: at % 2 === 0 ? "kv" : "hashes",
      key: fromUtf8(String(at)),
      value: new Uint8Array(1_024),
    }));
    const chunks = await collect(writeSnapshot(stream([many]), ({ table }) => table === "kv", 3));
    expect(chunks.length).toBeGreaterThan(1);
    expect((await collect(readSnapshot(stream(chunks), 3))).flat()).toHaveLength(150);
  });

  it.each([
    ["another magic", golden.replace("424c585301", "424c585401")],
    ["no format", golden.replace("424c585301", "424c585300")],
    ["nothing but a format", "424c585302"],
    ["a cut record", golden.slice(0, 30)],
    ["no end mark", golden.slice(0, -16)],
    ["missing records", `424c585301ffffffff00000001`],
    ["bytes after the end", `${golden}00`],
    ["a length that is garbage", "424c5853017fffffff"],
    ["a key beyond its record", golden.replace("00016b", "00ff6b")],
  ])("refuses %s", async (_, hex) => {
    await expect(read(hex)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });
});
