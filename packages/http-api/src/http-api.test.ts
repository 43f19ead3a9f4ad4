import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { connectClient } from "@blixard/client";
import { silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { WebSocket } from "ws";
import { createHttpApi, type HttpApi } from "./create-http-api.ts";
import type { HttpDeps } from "./http-types.ts";
import { type Listener, listenPlain } from "./listeners.ts";
import { TestService } from "./testing/test-service.ts";
import { TextMetrics } from "./testing/text-metrics.ts";

const options = { version: "0.0.0-test", debugApi: false, allowedHosts: ["node.example"] };
let service: TestService;
let blobs: Uint8Array[];
let listener: Listener;
let deps: HttpDeps;
let api: HttpApi;

beforeEach(async () => {
  service = new TestService();
  blobs = [];
  const metrics = new TextMetrics();
  deps = {
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    metrics,
    nodeId: 1,
    endpointId: "e".repeat(64),
    clusterId: () => "cluster",
    storageHealthy: () => true,
    metricsText: async () => metrics.text(),
  };
  api = createHttpApi(deps, options);
  api.serve(service);
  listener = await listenPlain("127.0.0.1:0", api, "--http");
  api.storeBlobs({
    async put(chunks) {
      for await (const chunk of chunks) blobs.push(chunk);
      return { digest: "d".repeat(64), sizeBytes: Buffer.concat(blobs).length };
    },
  });
});

afterEach(async () => {
  api.close();
  await listener.close(0);
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

/** Plain node:http, because fetch would set the Host header itself. */
function ask(verb: string, path: string, body?: string | object, headers: Record<string, string> = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const authorization = "Bearer admin-token";
    const request = httpRequest({
      port: listener.port,
      host: "127.0.0.1",
      method: verb,
      path,
      headers: { authorization, ...headers },
    });
    request.once("error", reject);
    request.once("response", async (response) => {
      const pieces: Buffer[] = [];
      for await (const piece of response) pieces.push(piece as Buffer);
      const text = Buffer.concat(pieces).toString("utf8");
      const isJson = response.headers["content-type"]?.startsWith("application/json");
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: isJson ? JSON.parse(text) : text,
      });
    });
    request.end(typeof body === "object" ? JSON.stringify(body) : body);
  });
}

const failure = (code: string) => ({ error: expect.objectContaining({ code }) });

describe("key-value routes", () => {
  it("have the bodies of the contract", async () => {
    expect(await ask("PUT", "/v1/kv/k", { value: "v" })).toMatchObject({ status: 200, body: { index: 2, term: 2 } });
    expect((await ask("GET", "/v1/kv/k")).body).toEqual({ key: "k", value: "v", index: 2 });
    const swap = await ask("POST", "/v1/kv/k/cas", { from: "v", to: null });
    expect(swap.body).toEqual({ swapped: true, index: 3, term: 2 });
    expect(await ask("GET", "/v1/kv/k")).toMatchObject({ status: 404, body: failure("KEY_NOT_FOUND") });
    expect((await ask("GET", "/v1/kv?prefix=z")).body).toEqual({ items: [], index: 3, truncated: false });
  });

  it.each(["a/b", "ä ö%2F+", "100%", "cas", "..a"])("take the key %j, percent-encoded", async (key) => {
    await ask("PUT", `/v1/kv/${encodeURIComponent(key)}`, { value: "v" });
    expect((await ask("GET", `/v1/kv/${encodeURIComponent(key)}`)).body).toMatchObject({ key, value: "v" });
  });

  it("pass on what the headers and the query say", async () => {
    const once = { "idempotency-key": "once", "idempotency-since": "5" };
    const headers = { ...once, "if-match": '"7"', "blixard-timeout-ms": "500" };
    const answer = await ask("PUT", "/v1/kv/k?consistency=stale", { value: "v" }, headers);
    expect(answer.headers["x-request-id"]).toBe("once");
    expect(service.calls.at(-1)?.meta).toEqual({
      requestId: "once",
      sinceIndex: 5,
      actor: { kind: "token", id: "a" },
      access: "admin",
      timeoutMs: 500,
      stale: true,
      ifMatchIndex: 7,
      hops: 0,
    });
  });
});

describe("bad requests", () => {
  it("get one error shape", async () => {
    const answer = await ask("PUT", "/v1/kv/k", '{"value":');
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual({
      error: {
        code: "MALFORMED_JSON",
        message: expect.any(String),
        hint: expect.any(String),
        outcome: "not_applied",
        retryable: false,
        requestId: expect.stringMatching(/^[0-9a-f]{32}$/),
      },
    });
  });

  it.each<[number, string, string, string, string | object | undefined, Record<string, string>]>([
    [400, "INVALID_ARGUMENT", "PUT", "/v1/kv/k", "[]", {}],
    [413, "VALUE_TOO_LARGE", "PUT", "/v1/kv/k", "x".repeat(1024 * 1024 + 1), {}],
    [400, "INVALID_ARGUMENT", "PUT", "/v1/kv/k", { value: "v" }, { "idempotency-key": "two words" }],
    [400, "INVALID_ARGUMENT", "PUT", "/v1/kv/k", { value: "v" }, { "if-match": "*" }],
    [400, "INVALID_ARGUMENT", "PUT", "/v1/kv/k", { value: "v" }, { "idempotency-since": "-1" }],
    [400, "INVALID_ARGUMENT", "POST", "/v1/tickets", {}, {}],
    [401, "UNAUTHENTICATED", "PUT", "/v1/kv/k", { value: "v" }, { authorization: "Bearer nobody" }],
    [403, "PERMISSION_DENIED", "PUT", "/v1/kv/k", { value: "v" }, { authorization: "Bearer viewer-token" }],
    [403, "PERMISSION_DENIED", "PUT", "/v1/kv/k", "{not json", { authorization: "Bearer viewer-token" }],
    [403, "PERMISSION_DENIED", "GET", "/v1/kv/k", undefined, { host: "evil.example" }],
    [403, "PERMISSION_DENIED", "GET", "/v1/kv/k", undefined, { origin: "http://evil.example" }],
    [403, "PERMISSION_DENIED", "GET", "/v1/kv/k", undefined, { origin: "null" }],
    [400, "INVALID_ARGUMENT", "GET", "/v1/kv?consistency=maybe", undefined, {}],
    [400, "INVALID_ARGUMENT", "GET", "/v1/kv?limit=ten", undefined, {}],
    [400, "INVALID_ARGUMENT", "PUT", "/v1/kv/%ff", { value: "v" }, {}],
    [404, "NOT_FOUND", "GET", "/v1/vmss", undefined, {}],
    [401, "UNAUTHENTICATED", "GET", "/v1/vmss", undefined, { authorization: "" }],
    [404, "NOT_FOUND", "GET", "/v1/debug/statehash?index=1", undefined, {}],
    [405, "METHOD_NOT_ALLOWED", "PATCH", "/v1/kv/k", undefined, {}],
  ])("%d %s: %s %s", async (status, code, verb, path, body, headers) => {
    expect(await ask(verb, path, body, headers)).toMatchObject({ status, body: failure(code) });
  });

  it("suggest the nearest route, and the verbs that there are", async () => {
    expect((await ask("GET", "/v1/vmss")).body).toMatchObject({ error: { hint: "Did you mean /v1/vms?" } });
    expect((await ask("POST", "/v1/kv")).headers["allow"]).toBe("GET");
  });

  it("learn nothing about faults inside", async () => {
    const answer = await ask("GET", "/v1/images");
    expect(answer).toMatchObject({ status: 500, body: failure("INTERNAL") });
    expect(JSON.stringify(answer.body)).not.toContain("secret");
  });
});

describe("routes without a token", () => {
  it("are liveness, readiness and identity", async () => {
    const none = { authorization: "" };
    expect((await ask("GET", "/healthz", undefined, none)).body).toMatchObject({ healthy: true, ready: true });
    expect((await ask("GET", "/readyz", undefined, none)).status).toBe(200);
    expect((await ask("GET", "/v1/identity", undefined, none)).body).toMatchObject({ nodeId: 1 });
    expect(await ask("GET", "/", undefined, none)).toMatchObject({ status: 404, body: failure("NOT_FOUND") });
    for (const path of ["/metrics", "/v1/status", "/v1/openapi.json"]) {
      expect((await ask("GET", path, undefined, none)).status).toBe(401);
    }
  });

  it("say when the node does not serve yet", async () => {
    service.readiness = { ready: false, reason: "no leader is known" };
    expect(await ask("GET", "/readyz")).toMatchObject({
      status: 503,
      body: { error: { message: "no leader is known" } },
    });
    await listener.close(0);
    listener = await listenPlain("127.0.0.1:0", createHttpApi(deps, options), "--http");
    expect(await ask("GET", "/readyz")).toMatchObject({
      status: 503,
      body: { error: { message: "the node is starting" } },
    });
    expect((await ask("GET", "/healthz")).status).toBe(200);
    expect(await ask("GET", "/v1/kv/k")).toMatchObject({ status: 503, body: failure("UNAVAILABLE") });
    expect(await ask("POST", "/v1/blobs", "image")).toMatchObject({ status: 503, body: failure("UNAVAILABLE") });
  });

  it("say that the system has no more of something, which is no fault of the node", async () => {
    api.storeBlobs({
      put: () => Promise.reject(Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" })),
    });
    const { status, body } = await ask("POST", "/v1/blobs", "image");
    expect([status, body]).toEqual([429, failure("OVERLOADED")]);
    expect(body).toMatchObject({ error: { outcome: "unknown", message: expect.not.stringContaining("EMFILE") } });
  });

  it("hear of a blob what its sender says of it, and refuse what they do not look at", async () => {
    const promises: unknown[] = [];
    api.storeBlobs({
      put: async (_, promise) => {
        promises.push(promise);
        return { digest: "d".repeat(64), sizeBytes: 9 };
      },
    });
    const digest = "ab".repeat(32);
    expect(await ask("POST", `/v1/blobs?digest=${digest}&sizeBytes=9&offset=4&raw=true`, "image")).toMatchObject({
      status: 201,
    });
    expect(promises).toEqual([{ digest, wholeBytes: 9, offset: 4, raw: true }]);
    for (const query of ["digest=ab", "offset=-1", "offset=x", "sizeBytes=0", "raw=maybe", "path=/etc/passwd"]) {
      expect(await ask("POST", `/v1/blobs?${query}`, "image")).toMatchObject({ status: 400 });
    }
    expect(promises).toHaveLength(1);
  });

  it("say what the system said where nobody has put it into words, and log it whole", async () => {
    const error = Object.assign(new Error("ENOSPC: no space left on device, open '/data/x'"), {
      code: "ENOSPC",
      errno: -28,
    });
    api.storeBlobs({ put: () => Promise.reject(error) });
    const { body } = await ask("POST", "/v1/blobs", "image");
    expect(body).toMatchObject({
      error: { code: "STORAGE_FAILED", message: "the request: the disk is full", outcome: "unknown" },
    });
    expect(JSON.stringify(body)).not.toContain("/data/x");
  });

  it("accept allowed hosts, the endpoint id and loopback origins", async () => {
    for (const host of ["localhost:1", "[::1]:1", "node.example", "e".repeat(64)]) {
      const headers = { host, origin: "http://127.0.0.1:9999" };
      expect((await ask("GET", "/v1/identity", undefined, headers)).status).toBe(200);
    }
  });
});

describe("VM routes", () => {
  it("answer the record with index and term", async () => {
    const spec = { vcpus: 1, memoryMiB: 64, image: "demo" };
    const answer = await ask("POST", "/v1/vms", { name: "web", spec });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({ name: "web", spec, desired: "running", phase: "Running", index: 9, term: 2 });
  });

  it.each([
    ["POST", "/v1/vms/web/stop", { desired: "stopped", restart: false }],
    ["POST", "/v1/vms/web/restart", { desired: "running", restart: true }],
    ["DELETE", "/v1/vms/web", { desired: "deleted" }],
    ["PATCH", "/v1/vms/web", { desired: "paused" }],
  ])("%s %s sets what is desired", async (verb, path, expected) => {
    const answer = await ask(verb, path, verb === "PATCH" ? { desired: "paused" } : undefined);
    expect(answer.status).toBe(200);
    expect(service.calls.at(-1)).toMatchObject({ name: "vm.desire", request: { name: "web", ...expected } });
  });

  it("serve serial output as JSON and as it is", async () => {
    expect((await ask("GET", "/v1/vms/web/logs?offset=0")).body).toMatchObject({ text: "booting\n", endOffset: 8 });
    const plain = await ask("GET", "/v1/vms/web/logs?offset=-4", undefined, { accept: "text/plain" });
    expect(plain).toMatchObject({ body: "ing\n", headers: { "blixard-offset": "4", "blixard-end-offset": "8" } });
  });

  it("take a compromised node out, and list what it held", async () => {
    const answer = await ask("POST", "/v1/bans", { id: 3, acceptTwoCopies: ["web"] });
    expect(answer).toMatchObject({ status: 201, body: { vms: ["web"], revoked: { tokens: ["node-3"] } } });
    expect(service.calls.at(-1)).toMatchObject({ name: "ban.add", request: { id: 3, acceptTwoCopies: ["web"] } });
    expect((await ask("POST", "/v1/bans", { id: 3, acceptTwoCopies: ["no name"] })).status).toBe(400);
    expect((await ask("POST", "/v1/bans", {})).status).toBe(400);
  });

  it("rotate the key of a node", async () => {
    const answer = await ask("POST", "/v1/nodes/3/rotate-key");
    expect(answer).toMatchObject({ status: 200, body: { nodeId: 3, endpointId: "cd".repeat(32) } });
    expect(service.calls.at(-1)).toMatchObject({ name: "node.rotateKey", request: { id: 3 } });
    expect((await ask("POST", "/v1/nodes/none/rotate-key")).status).toBe(400);
  });

  it("remove members with typed query fields", async () => {
    await ask("DELETE", "/v1/members/3?force=true");
    expect(service.calls.at(-1)).toMatchObject({ name: "member.remove", request: { id: 3, force: true } });
    await ask("DELETE", "/v1/members/3?force=true&acceptTwoCopies=web,db");
    expect(service.calls.at(-1)).toMatchObject({ request: { id: 3, force: true, acceptTwoCopies: ["web", "db"] } });
  });
});

describe("console websocket", () => {
  const open = (name: string, headers: Record<string, string>, protocols: string[] = []) =>
    new WebSocket(`ws://127.0.0.1:${listener.port}/v1/vms/${name}/console?offset=0`, protocols, { headers });

  async function outcome(socket: WebSocket): Promise<string> {
    return await new Promise((resolve) => {
      socket.once("message", (data) => resolve(String(data)));
      socket.once("error", (error) => resolve(error.message));
    });
  }

  it("carries output and input", async () => {
    const socket = open("web", { authorization: "Bearer admin-token" });
    expect(await outcome(socket)).toBe("booting\n");
    const echoed = outcome(socket);
    socket.send(Buffer.from("hello"));
    expect(await echoed).toBe("hello");
    socket.close();
  });

  it("takes a token as subprotocol, and refuses without one, from elsewhere, and for no VM", async () => {
    const browser = open("web", { origin: "http://localhost" }, ["blixard.console", "bearer.admin-token"]);
    expect(await outcome(browser)).toBe("booting\n");
    expect(browser.protocol).toBe("blixard.console");
    browser.close();
    expect(await outcome(open("web", {}))).toContain("401");
    expect(await outcome(open("web", { authorization: "Bearer viewer-token" }))).toContain("403");
    expect(await outcome(open("web", { authorization: "Bearer admin-token", origin: "http://evil" }))).toContain("403");
    expect(await outcome(open("none", { authorization: "Bearer admin-token" }))).toContain("404");
  });
});

describe("BlixardClient against the routes", () => {
  it("round-trips each kind of call", async () => {
    await using client = connectClient({ addresses: [`http://${listener.address}`], token: "admin-token" });
    await client.kv.put("x/y", "1");
    expect(await client.kv.get("x/y")).toMatchObject({ value: "1" });
    expect(await client.kv.get("none")).toBeUndefined();
    const changes: unknown[] = [];
    for await (const change of client.kv.watch("x/")) {
      changes.push(change);
      if (changes.length === 2) await client.kv.put("x/z", "2");
      if (changes.length === 3) break;
    }
    const entry = (key: string, value: string) => ({ type: "put", entry: { key, value, index: expect.any(Number) } });
    expect(changes).toEqual([entry("x/y", "1"), { type: "current" }, entry("x/z", "2")]);
    expect(await client.vms.create("web", { memoryMiB: 64, image: "demo" })).toMatchObject({
      vm: { name: "web" },
      index: 9,
    });
    const piece = await client.vms.readConsole({ name: "web", offset: 0 });
    expect(Buffer.from(piece.data).toString()).toBe("booting\n");
    const input = (async function* () {
      yield Buffer.from("in");
    })();
    let text = "";
    for await (const out of await client.vms.openConsole({ name: "web", offset: 0 }, { input })) {
      text += Buffer.from(out.data).toString();
      if (out.inputEnded) break;
    }
    expect("booting\nin".startsWith(text)).toBe(true);
    expect((await client.vms.readConsole({ name: "web", offset: -2 })).offset).toBe(8);
    for await (const out of client.vms.followLogs({ name: "web", offset: -2 })) {
      expect(Buffer.from(out.data).toString()).toBe("in");
      break;
    }
    expect((await client.healthCheck()).healthy).toBe(true);
    const uploaded = await client.images.uploadBlob(
      (async function* () {
        yield new Uint8Array(100_000);
        yield new Uint8Array(1);
      })(),
    );
    expect(uploaded).toEqual({ digest: "d".repeat(64), sizeBytes: 100_001, nodeId: 1 });
  });
});

describe("metrics and description", () => {
  it("count requests under their route, not their key", async () => {
    await ask("PUT", "/v1/kv/secret-key", { value: "v" });
    const text = String((await ask("GET", "/metrics")).body);
    expect(text).toContain('blixard_http_requests_total{verb="PUT",route="/v1/kv/{key}",status="200"} 1');
    expect(text).not.toContain("secret-key");
  });

  it("describe each route", async () => {
    const { paths } = (await ask("GET", "/v1/openapi.json")).body as { paths: Record<string, object> };
    expect(paths["/v1/kv/{key}"]).toHaveProperty("put.requestBody");
    expect(Object.keys(paths)).not.toContain("/v1/debug/log");
  });
});

describe("what cannot be read", () => {
  /** The head of the answer to bytes as they are. */
  const raw = (text: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: listener.port });
      let answer = "";
      socket.on("data", (data) => {
        answer += String(data);
        if (answer.includes("\r\n\r\n")) socket.destroy();
      });
      socket.once("error", reject);
      socket.once("close", () => resolve(answer));
      socket.write(text);
    });
  const upgrade = (path: string, host = "Host: localhost") =>
    raw(`GET ${path} HTTP/1.1\r\n${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);

  it.each(["//", "http://[", "/v1/vms/%ff/console", "/%"])("is 400 for an anonymous upgrade of %s", async (path) => {
    expect(await upgrade(path)).toMatch(/^HTTP\/1\.1 400 [\s\S]*INVALID_ARGUMENT/);
  });

  it("is 400 with two hosts, for requests and upgrades", async () => {
    const hosts = "Host: localhost\r\nHOST: 127.0.0.1";
    expect(await raw(`GET /healthz HTTP/1.1\r\n${hosts}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 400 /);
    expect(await upgrade("/v1/vms/web/console", hosts)).toMatch(/^HTTP\/1\.1 400 /);
    expect(await raw("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 /);
  });
});
