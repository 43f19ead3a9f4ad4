import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

const manyKeys = 2_300;
const largeValues = 40;

describe("lists that are longer than one answer", () => {
  let root: string;
  let node: ProcessNode;
  let token: string;
  const keys = Array.from({ length: manyKeys }, (_, at) => `many/${String(at).padStart(5, "0")}`);

  const get = async (path: string) => {
    const answer = await fetch(`${node.ready.http}${path}`, { headers: { authorization: `Bearer ${token}` } });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const blixard = (...args: string[]) => {
    const env = { XDG_DATA_HOME: join(root, "home"), XDG_CONFIG_HOME: join(root, "home") };
    return runBinary([...args, "--data-dir", join(root, "1")], { env });
  };

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-lists-"));
    const flags = ["--vm-driver", "fake"];
    node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir: join(root, "1"), flags });
    token = await node.token();
    const put = async (key: string, value: string) => {
      const answer = await fetch(`${node.ready.http}/v1/kv/${encodeURIComponent(key)}`, {
        method: "PUT",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ value }),
      });
      expect(answer.status).toBe(200);
    };
    for (let at = 0; at < keys.length; at += 100) {
      await Promise.all(keys.slice(at, at + 100).map((key) => put(key, "v")));
    }
    // Three bytes for each character.
    for (let at = 0; at < largeValues; at++) await put(`large/${at}`, "\u6f22".repeat(21_845));
  });

  afterAll(async () => {
    await node?.stop();
    await rm(root, { recursive: true, force: true });
  });

  it("are read to their end by the command line", async () => {
    const many = await blixard("kv", "list", "many/", "-o", "name");
    expect(many).toMatchObject({ code: 0, stderr: "" });
    expect(many.stdout.trimEnd().split("\n")).toEqual(keys);
    const large = await blixard("kv", "list", "large/", "-o", "name");
    expect(large).toMatchObject({ code: 0, stderr: "" });
    expect(new Set(large.stdout.trimEnd().split("\n")).size).toBe(largeValues);
  });

  it("end where --limit and --after say, in words", async () => {
    const some = await blixard("kv", "list", "many/", "--limit", "2", "--after", "many/00004", "-o", "name");
    expect(some).toMatchObject({ code: 0, stdout: "many/00005\nmany/00006\n" });
    expect(some.stderr).toBe("there are more keys than the --limit of 2\n");
    const all = await blixard("kv", "list", "many/", "--limit", String(manyKeys), "-o", "name");
    expect(all).toMatchObject({ code: 0, stderr: "" });
  });

  it("are pages over HTTP, each with its index and what follows it", async () => {
    const seen: unknown[] = [];
    let after = "";
    for (let pages = 0; ; pages++) {
      const { status, body } = await get(`/v1/kv?prefix=many%2F&limit=1000&after=${encodeURIComponent(after)}`);
      expect(status).toBe(200);
      expect(body["index"]).toEqual(expect.any(Number));
      seen.push(...(body["items"] as { key: string }[]).map(({ key }) => key));
      expect(body["truncated"]).toBe(body["next"] !== undefined);
      if (body["next"] === undefined) break;
      after = String(body["next"]);
      expect(pages).toBeLessThan(5);
    }
    expect(seen).toEqual(keys);
  });

  it.each(["vms", "images", "nodes", "members", "tickets", "tokens", "certificates", "joins"])(
    "take a place to begin and a limit: %s",
    async (noun) => {
      const { status, body } = await get(`/v1/${noun}?limit=1&after=`);
      expect({ status, items: (body["items"] as unknown[]).length }).toMatchObject({ status: 200 });
      expect((await get(`/v1/${noun}?limit=0`)).status).toBe(400);
      expect((await get(`/v1/${noun}?after=~`)).body).toMatchObject({ items: [] });
    },
  );

  it("are described", async () => {
    const { body } = await get("/v1/openapi.json");
    const paths = body["paths"] as Record<string, { get?: { parameters: { name: string }[] } }>;
    for (const path of ["/v1/kv", "/v1/vms", "/v1/certificates"]) {
      const names = paths[path]?.get?.parameters.map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(["after", "limit"]));
    }
  });
});
