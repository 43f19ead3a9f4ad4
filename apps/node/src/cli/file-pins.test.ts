import { chmod, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadOrCreateNodeKey } from "@blixard/identity";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { contextKeyPath, readContexts, writeContexts } from "./contexts.ts";
import { filePins, replacePinned } from "./file-pins.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "blixard-pins-"));
});
afterEach(() => rm(home, { recursive: true }));

const [a, b] = ["a".repeat(64), "b".repeat(64)];
const pins = () => filePins({ XDG_CONFIG_HOME: home });
const path = () => join(home, "blixard", "known-nodes.json");

describe("filePins", () => {
  it("remembers keys for the next command, beside those that are there", async () => {
    pins().set("node.example:7001", a);
    pins().set("192.0.2.1:7001", b);
    expect(pins().get("node.example:7001")).toBe(a);
    expect(pins().get("elsewhere.example:7001")).toBeUndefined();
    expect(JSON.parse(await readFile(path(), "utf8"))).toEqual({ "node.example:7001": a, "192.0.2.1:7001": b });
    expect((await stat(path())).mode & 0o777).toBe(0o600);
  });

  it("puts the next key of a node where its key was", () => {
    const env = { XDG_CONFIG_HOME: home };
    replacePinned(env, a, b);
    pins().set("node.example:7001", a);
    pins().set("192.0.2.1:7001", "c".repeat(64));
    replacePinned(env, a, b);
    expect(pins().get("node.example:7001")).toBe(b);
    expect(pins().get("192.0.2.1:7001")).toBe("c".repeat(64));
  });

  it("remembers loopback addresses for one command only", () => {
    const command = pins();
    for (const address of ["127.0.0.1:7001", "localhost:7001", "[::1]:7001"]) command.set(address, a);
    expect(command.get("localhost:7001")).toBe(a);
    expect(pins().get("localhost:7001")).toBeUndefined();
  });

  it("refuses a damaged file instead of trusting anybody", async () => {
    pins().set("node.example:7001", a);
    for (const text of ["{", "null", '{"node.example:7001":7}']) {
      await writeFile(path(), text);
      expect(() => pins().get("node.example:7001")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });

  it("refuses pins, contexts and keys of contexts that somebody else may have written", async () => {
    pins().set("node.example:7001", a);
    const home1 = { XDG_CONFIG_HOME: home };
    const keyPath = await contextKeyPath(home1, "x");
    const contexts = join(home, "blixard", "contexts.json");
    const text = JSON.stringify({ formatVersion: 1, current: null, contexts: {} });
    for (const file of [path(), contexts, keyPath]) {
      await writeFile(join(home, "planted"), file === path() ? "{}" : text, { mode: 0o600 });
      await rm(file, { force: true });
      await symlink(join(home, "planted"), file);
    }
    const link = { details: { fault: "link" } };
    expect(() => pins().get("node.example:7001")).toThrow(expect.objectContaining(link));
    await expect(readContexts(home1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", ...link });
    await expect(loadOrCreateNodeKey(keyPath)).rejects.toMatchObject(link);
    await rm(contexts);
    await writeContexts(home1, JSON.parse(text));
    await chmod(contexts, 0o604);
    const hint = expect.stringContaining(`chmod 600 ${contexts}`);
    await expect(readContexts(home1)).rejects.toMatchObject({ details: { fault: "mode" }, hint });
  });
});
