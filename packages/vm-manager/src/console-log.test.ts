import { appendFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "@jest/globals";
import { ConsoleLog } from "./console-log.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "./testing/temporary-directory.ts";

afterAll(removeTemporaryDirectories);

async function makeLog(bytesMax: number) {
  const directory = await temporaryDirectory();
  const path = join(directory, "console.log");
  const print = (text: string) => appendFile(path, text);
  const log = new ConsoleLog(directory, bytesMax);
  const read = async (offset: number, length = 1000) => {
    const piece = await log.read(offset, length);
    return { ...piece, data: Buffer.from(piece.data).toString() };
  };
  return { directory, path, log, print, read };
}

describe("ConsoleLog", () => {
  it("is empty before the first output", async () => {
    const { read } = await makeLog(100);
    expect(await read(5)).toEqual({ offset: 0, data: "", endOffset: 0 });
  });

  it("reads from an offset, also counted from the end, and never past the end", async () => {
    const { print, read } = await makeLog(100);
    await print("0123456789");
    expect(await read(3, 4)).toEqual({ offset: 3, data: "3456", endOffset: 10 });
    expect(await read(-2)).toEqual({ offset: 8, data: "89", endOffset: 10 });
    expect(await read(-99)).toEqual({ offset: 0, data: "0123456789", endOffset: 10 });
    expect(await read(99)).toEqual({ offset: 10, data: "", endOffset: 10 });
  });

  it("keeps offsets of the whole output when a full log is cut, and after it was opened again", async () => {
    const { directory, path, log, print, read } = await makeLog(8);
    await print("0123456789");
    await log.rotate();
    expect((await stat(path)).size).toBe(0);
    await print("ab");
    expect(await read(2)).toEqual({ offset: 2, data: "23456789", endOffset: 12 });
    expect(await read(10)).toEqual({ offset: 10, data: "ab", endOffset: 12 });
    const again = await new ConsoleLog(directory, 8).read(10, 10);
    expect(again).toMatchObject({ offset: 10, endOffset: 12 });
    await print("cdefghij");
    await log.rotate();
    expect(await read(0)).toEqual({ offset: 10, data: "abcdefghij", endOffset: 20 });
  });

  it("keeps only the end of a log that grew while nobody looked", async () => {
    const { log, print, read } = await makeLog(8);
    await print("x".repeat(100).concat("0123456789abcdef"));
    await log.rotate();
    expect(await read(0)).toEqual({ offset: 100, data: "0123456789abcdef", endOffset: 116 });
  });

  it("leaves a log that is not full", async () => {
    const { path, log, print } = await makeLog(8);
    await print("1234567");
    await log.rotate();
    expect((await stat(path)).size).toBe(7);
  });
});
