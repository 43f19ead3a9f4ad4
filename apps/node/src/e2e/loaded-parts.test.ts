import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

interface Coverage {
  readonly result: readonly { readonly url: string }[];
}

/** What a command loads is most of what it costs, and unlike time it can be counted. */
describe("the parts of the program that a command loads", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "blixard-loaded-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** The code of the files that the process loaded, which V8 tells when it ends. */
  function loadedBy(...args: readonly string[]): readonly string[] {
    const { status, stderr } = spawnSync(process.execPath, [builtBinary(), ...args], {
      env: { PATH: process.env["PATH"], HOME: folder, NODE_V8_COVERAGE: folder },
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const [name = ""] = readdirSync(folder).filter((file) => file.startsWith("coverage-"));
    const { result } = JSON.parse(readFileSync(join(folder, name), "utf8")) as Coverage;
    const files = result.map(({ url }) => url).filter((url) => url.startsWith("file:"));
    return files.map((url) => readFileSync(fileURLToPath(url), "utf8"));
  }

  /** The bundle names each module above its code. */
  const modulesOf = (codes: readonly string[]) =>
    codes.flatMap((code) =>
      [...code.matchAll(/^\s*(?:\/\/ )?"?(?:\.\.\/|dist\/)\S*\.(?:js|mjs|cjs)/gm)].map(([line]) => line),
    );

  it("are few for `version`: no schema, no contract, no server", () => {
    const codes = loadedBy("version");
    const modules = modulesOf(codes);

    expect(modules.some((name) => name.includes("commander"))).toBe(true);
    expect(modules.filter((name) => /\/(zod|msgpackr|protocol|cluster|raft|client|http-api)\//.test(name))).toEqual([]);
    expect(codes.length).toBeLessThan(25);
    expect(codes.join("").length).toBeLessThan(300_000);
  });

  it("are without the server, the store and QEMU for the help of `vm`", () => {
    const codes = loadedBy("vm", "list", "--help");
    const modules = modulesOf(codes);

    expect(modules.some((name) => name.includes("/protocol/"))).toBe(true);
    expect(modules.filter((name) => /\/(raft|storage|cluster|http-api|hono|prom-client|qemu)\//.test(name))).toEqual(
      [],
    );
    expect(codes.length).toBeLessThan(45);
    expect(codes.join("").length).toBeLessThan(1_200_000);
  });
});
