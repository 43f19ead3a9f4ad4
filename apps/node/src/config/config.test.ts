import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { flagOf, variableOf } from "@blixard/server";
import { describe, expect, it } from "@jest/globals";
import { loadNodeConfig } from "./load-config.ts";
import { resolveNodeConfig } from "./resolve-config.ts";

const file = (content: unknown) => ({ path: "node.yaml", content });

describe("resolveNodeConfig", () => {
  it("takes the flag before the environment before the file before the default", () => {
    const sources = {
      flags: { bind: "127.0.0.1:1" },
      env: { BLIXARD_BIND: "127.0.0.1:2", BLIXARD_HEARTBEAT_MS: "20", BLIXARD_ID: "" },
      file: file({ bind: "127.0.0.1:3", heartbeatMs: 30, id: 7 }),
    };
    const { config, origins } = resolveNodeConfig(sources);
    expect(config).toMatchObject({ bind: "127.0.0.1:1", heartbeatMs: 20, id: 7, electionTimeoutMs: 1_000 });
    expect(origins).toMatchObject({
      bind: { kind: "flag", name: "--bind" },
      heartbeatMs: { kind: "environment", name: "BLIXARD_HEARTBEAT_MS" },
      id: { kind: "file", name: "node.yaml" },
      electionTimeoutMs: { kind: "default" },
    });
  });

  it("reads text as the type of the setting", () => {
    const env = { BLIXARD_DEBUG_API: "true", BLIXARD_RELAY: "0", BLIXARD_ALLOWED_HOSTS: "a.example, b.example" };
    const { config } = resolveNodeConfig({ flags: { id: "3" }, env });
    expect(config).toMatchObject({ id: 3, debugApi: true, relay: false, allowedHosts: ["a.example", "b.example"] });
  });

  it.each([
    [{ id: "one" }, "--id"],
    [{ id: "0" }, "--id"],
    [{ id: "1e3" }, "--id"],
    [{ bind: "localhost" }, "HOST:PORT"],
    [{ bind: "127.0.0.1:70000" }, "65535"],
    [{ transport: "pigeon" }, "--transport"],
    [{ bootstrap: true, join: "x:1" }, "exclude"],
    [{ join: "x:1", joinFile: "f" }, "exclude"],
    [{ heartbeatMs: "900" }, "twice"],
  ])("refuses %j and names the place", (flags, text) => {
    const attempt = () => resolveNodeConfig({ flags, env: {} });
    expect(attempt).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining(text) }),
    );
  });

  it("names the variable or file of a wrong value, but never repeats a ticket", () => {
    const env = { BLIXARD_ID: "x" };
    expect(() => resolveNodeConfig({ flags: {}, env })).toThrow(/BLIXARD_ID "x"/);
    expect(() => resolveNodeConfig({ flags: {}, env: {}, file: file({ id: "x" }) })).toThrow(/id "x" in node\.yaml/);
    const joins = { bootstrap: true, join: "blx1-secret" };
    expect(() => resolveNodeConfig({ flags: joins, env: {} })).toThrow(expect.not.stringContaining("secret"));
  });

  it("suggests the nearest name for an unknown key of a file", () => {
    const attempt = () => resolveNodeConfig({ flags: {}, env: {}, file: file({ datadir: "x" }) });
    expect(attempt).toThrow(expect.objectContaining({ code: "UNKNOWN_OPTION", hint: 'Did you mean "dataDir"?' }));
  });
});

describe("loadNodeConfig", () => {
  it("reads YAML, and names the file that it cannot read", async () => {
    const directory = await mkdtemp(join(tmpdir(), "blixard-config-"));
    const path = join(directory, "node.yaml");
    await writeFile(path, "id: 4\nrelay: false\n");
    expect((await loadNodeConfig({}, path, {})).config).toMatchObject({ id: 4, relay: false });
    expect((await loadNodeConfig({}, undefined, { BLIXARD_CONFIG: path })).config.id).toBe(4);
    await writeFile(path, "id: [");
    await expect(loadNodeConfig({}, path, {})).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await rm(directory, { recursive: true });
    await expect(loadNodeConfig({}, path, {})).rejects.toThrow(/does not exist/);
  });
});

describe("names of settings", () => {
  it("follow one rule", () => {
    expect([flagOf("electionTimeoutMs"), flagOf("relay"), flagOf("joinFile")]).toEqual([
      "--election-timeout-ms",
      "--no-relay",
      "--join-file",
    ]);
    expect(variableOf("electionTimeoutMs")).toBe("BLIXARD_ELECTION_TIMEOUT_MS");
  });
});
