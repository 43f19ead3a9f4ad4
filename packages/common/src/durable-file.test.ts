import { mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { removeDurable, writeFileDurable } from "./durable-file.ts";

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "blixard-durable-"));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

describe("writeFileDurable", () => {
  it("replaces the whole file, for this user only, and leaves no draft", async () => {
    const path = join(directory, "record");
    await writeFileDurable(path, "a longer first text");
    await writeFileDurable(path, new Uint8Array([0x6f, 0x6b]));
    expect(await readFile(path, "utf8")).toBe("ok");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(["record"]);
  });

  it("keeps the old file when the new one cannot be written", async () => {
    const path = join(directory, "kept");
    await writeFileDurable(path, "old");
    // The draft cannot be opened where a directory has its name.
    await mkdir(`${path}.tmp`);
    await expect(writeFileDurable(path, "new")).rejects.toMatchObject({ code: "EISDIR" });
    expect(await readFile(path, "utf8")).toBe("old");
  });
});

describe("removeDurable", () => {
  it("removes files and directories, and what is not there", async () => {
    await removeDurable(join(directory, "record"));
    await removeDurable(join(directory, "record"));
    await removeDurable(join(directory, "kept.tmp"));
    expect(await readdir(directory)).toEqual(["kept"]);
  });
});
