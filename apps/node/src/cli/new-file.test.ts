import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { createFile } from "./new-file.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "blixard-file-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("createFile", () => {
  it("makes a new file for its user alone", async () => {
    const file = await createFile(join(folder, "new"));
    expect((await file.stat()).mode & 0o777).toBe(0o600);
    await file.close();
  });

  it("writes over nothing, and says why it makes no file", async () => {
    const there = join(folder, "there");
    await writeFile(there, "as it was");
    await expect(createFile(there)).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      message: `${there} is there already`,
    });
    expect(await readFile(there, "utf8")).toBe("as it was");
    await expect(createFile(folder)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
    const nowhere = { code: "INVALID_ARGUMENT", message: expect.stringContaining("ENOENT") };
    await expect(createFile(join(folder, "no", "file"))).rejects.toMatchObject(nowhere);
    await expect(createFile("-")).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("standard output"),
    });
  });
});
