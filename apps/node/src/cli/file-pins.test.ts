import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { filePins } from "./file-pins.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "blixard-pins-"));
});
afterEach(() => rm(home, { recursive: true }));

const pins = () => filePins({ XDG_CONFIG_HOME: home });
const path = () => join(home, "blixard", "known-nodes.json");

describe("filePins", () => {
  it("remembers keys for the next command, beside those that are there", async () => {
    pins().set("node.example:7001", "a");
    pins().set("192.0.2.1:7001", "b");
    expect(pins().get("node.example:7001")).toBe("a");
    expect(pins().get("elsewhere.example:7001")).toBeUndefined();
    expect(JSON.parse(await readFile(path(), "utf8"))).toEqual({ "node.example:7001": "a", "192.0.2.1:7001": "b" });
    expect((await stat(path())).mode & 0o777).toBe(0o600);
  });

  it("remembers loopback addresses for one command only", () => {
    const command = pins();
    for (const address of ["127.0.0.1:7001", "localhost:7001", "[::1]:7001"]) command.set(address, "a");
    expect(command.get("localhost:7001")).toBe("a");
    expect(pins().get("localhost:7001")).toBeUndefined();
  });

  it("refuses a damaged file instead of trusting anybody", async () => {
    pins().set("node.example:7001", "a");
    await writeFile(path(), "{");
    expect(() => pins().get("node.example:7001")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
