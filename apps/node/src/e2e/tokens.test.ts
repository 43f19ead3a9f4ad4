/** Tokens of nodes, and nodes that serve nobody, from the command line and over HTTP. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

let root: string;
let voter: ProcessNode;
let worker: ProcessNode;
const env = () => ({ XDG_DATA_HOME: join(root, "home"), XDG_CONFIG_HOME: join(root, "home") });
const dirOf = (id: number) => join(root, String(id));
const at = (id: number, ...args: string[]) => runBinary([...args, "--data-dir", dirOf(id)], { env: env() });
const adminToken = (id: number) => join(dirOf(id), "admin.token");

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + 60_000;
  while (!(await holds())) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`waited in vain for ${what}`);
    await sleep(systemClock, 50);
  }
}

async function asked(path: string, token: string): Promise<{ readonly status: number; readonly text: string }> {
  const answer = await fetch(`${worker.ready.http}${path}`, { headers: { authorization: `Bearer ${token}` } });
  return { status: answer.status, text: await answer.text() };
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-tokens-"));
  const flags = ["--vm-driver", "fake"];
  voter = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir: dirOf(1), flags });
  const created = await at(1, "ticket", "create", "--role", "worker", "-o", "json");
  const { ticket } = JSON.parse(created.stdout) as { readonly ticket: string };
  worker = await ProcessNode.start({ binary: builtBinary(), id: 2, dataDir: dirOf(2), flags, join: ticket });
});

afterAll(async () => {
  await worker?.stop();
  await voter?.stop();
  await rm(root, { recursive: true, force: true });
});

describe("a worker", () => {
  it("answers 421 to a token, names the voters, and shows how it is to who reads its directory", async () => {
    const text = (await readFile(adminToken(1), "utf8")).trim();
    const refused = await asked("/v1/kv", text);
    expect(refused.status).toBe(421);
    expect(JSON.parse(refused.text)).toMatchObject({
      error: { code: "MISDIRECTED", details: { voters: [{ endpointId: voter.ready.endpointId }] } },
    });
    const own = (await readFile(join(dirOf(2), "local.token"), "utf8")).trim();
    expect((await asked("/metrics", own)).text).toContain("blixard_cluster_nodes 2");
    expect((await asked("/v1/kv", own)).status).toBe(403);
    expect(existsSync(adminToken(2))).toBe(false);
    expect(await at(2, "status")).toMatchObject({ code: 0, stdout: expect.stringContaining("answered  node 2") });
    const denied = await at(2, "kv", "list");
    expect(denied).toMatchObject({ code: 4, stderr: expect.stringContaining("blixard context add") });
  });

  it("leads a command with a token to a voter", async () => {
    const command = ["kv", "put", "k", "v", "--address", worker.ready.bind, "--token-file", adminToken(1)];
    expect(await runBinary(command, { env: env() })).toMatchObject({ code: 0 });
    expect(await at(1, "kv", "get", "k")).toMatchObject({ code: 0, stdout: "v\n" });
  });

  it("gets a token with the vote, and loses it with that", async () => {
    expect(await at(1, "cluster", "promote", "2")).toMatchObject({ code: 0 });
    await until("the token of node 2", () => existsSync(adminToken(2)));
    await until("its use", async () => (await at(2, "kv", "get", "k")).code === 0);
    expect(await at(1, "cluster", "demote", "2")).toMatchObject({ code: 0 });
    await until("the end of it", () => !existsSync(adminToken(2)));
  });
});

describe("the token of a node", () => {
  it("ends with its revocation, is asked about when it is the last, and comes back offline", async () => {
    const before = (await readFile(adminToken(1), "utf8")).trim();
    expect(await at(1, "token", "revoke", "admin")).toMatchObject({ code: 5, stderr: expect.stringContaining("last") });
    expect(await at(1, "token", "rotate", "admin")).toMatchObject({ code: 0, stdout: "" });
    await until("the new text", async () => (await readFile(adminToken(1), "utf8")).trim() !== before);
    expect(await at(1, "token", "list")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/admin +node 1 +admin/),
    });
    expect(await at(1, "token", "revoke", "admin", "--last-admin")).toMatchObject({ code: 0 });
    await until("the end of it", () => !existsSync(adminToken(1)));
    expect(await at(1, "kv", "get", "k")).toMatchObject({ code: 4 });
    expect(await at(1, "status")).toMatchObject({ code: 0 });
    await voter.stop();
    expect(await at(1, "recover", "--admin-token", "--yes")).toMatchObject({ code: 0 });
    voter = await voter.restart();
    await until("the token of before", async () => (await at(1, "kv", "get", "k")).code === 0);
  });

  it("narrows the key of an operator", async () => {
    const created = await at(1, "token", "create", "--role", "admin", "-o", "json", "--ttl", "2d");
    const { id } = JSON.parse(created.stdout) as { readonly id: string };
    expect(await at(1, "token", "narrow", id, "--role", "viewer")).toMatchObject({ code: 0 });
    expect((await at(1, "token", "list")).stdout).toMatch(new RegExp(`${id} +bearer +viewer`));
  });
});
