import { connect } from "node:net";
import { type Clock, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { createHttpApi, type HttpApi } from "./create-http-api.ts";
import { type Listener, listenPlain } from "./listeners.ts";
import { PageSessions } from "./page-sessions.ts";
import { TestService } from "./testing/test-service.ts";
import { TextMetrics } from "./testing/text-metrics.ts";

const page = new Map([
  ["index.html", new Uint8Array(Buffer.from("<h1>the page</h1>"))],
  ["assets/index-abc.js", new Uint8Array(Buffer.from("script"))],
  ["assets/index-abc.css", new Uint8Array(Buffer.from("style"))],
]);
let service: TestService;
let listener: Listener;
let api: HttpApi;

beforeEach(async () => {
  service = new TestService();
  const metrics = new TextMetrics();
  const deps = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics, nodeId: 1, page };
  const about = { endpointId: "e".repeat(64), clusterId: () => "cluster", storageHealthy: () => true };
  api = createHttpApi(
    { ...deps, ...about, metricsText: async () => metrics.text() },
    { version: "0.0.0-test", debugApi: false, allowedHosts: [] },
  );
  api.serve(service);
  listener = await listenPlain("127.0.0.1:0", api, "--http");
});

afterEach(async () => {
  api.close();
  await listener.close(0);
});

const get = (path: string, init: RequestInit = {}) => fetch(`http://127.0.0.1:${listener.port}${path}`, init);

function send(method: string, path: string, token: string, body?: object, headers: Record<string, string> = {}) {
  const authorization = token === "" ? {} : { authorization: `Bearer ${token}` };
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  return get(path, { method, headers: { ...authorization, ...headers }, ...sent });
}

/** Sent as it is: a client would resolve the dots. */
function raw(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(listener.port, "127.0.0.1");
    let text = "";
    socket.on("data", (data) => {
      text += data;
    });
    socket.once("end", () => resolve(text)).once("error", reject);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  });
}

describe("the files of the page", () => {
  it("are served with their types, and nothing may run that is not of the page", async () => {
    const index = await get("/");
    expect(await index.text()).toBe("<h1>the page</h1>");
    expect(Object.fromEntries(index.headers)).toMatchObject({
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-cache",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    });
    const policy = index.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).not.toContain("unsafe");
    for (const [file, type] of [
      ["index-abc.js", "text/javascript; charset=utf-8"],
      ["index-abc.css", "text/css; charset=utf-8"],
    ]) {
      const { status, headers } = await get(`/assets/${file}`);
      expect([status, headers.get("content-type"), headers.get("cache-control")]).toEqual([
        ...[200, type, "public, max-age=31536000, immutable"],
      ]);
    }
  });

  it("are not sent again to who has them, and only read", async () => {
    const etag = (await get("/")).headers.get("etag") ?? "";
    expect((await get("/", { headers: { "if-none-match": etag } })).status).toBe(304);
    expect((await get("/", { headers: { "if-none-match": `W/${etag}, "x"` } })).status).toBe(304);
    expect((await get("/", { headers: { "if-none-match": '"other"' } })).status).toBe(200);
    const head = await get("/", { method: "HEAD" });
    expect([head.status, await head.text(), head.headers.get("etag")]).toEqual([200, "", etag]);
    expect((await send("POST", "/", "admin-token")).status).toBe(405);
    expect((await send("DELETE", "/assets/index-abc.js", "admin-token")).status).toBe(405);
  });

  it.each([
    "/assets/../index.html",
    "/assets/..%2findex.html",
    "/assets/%2e%2e%2f%2e%2e%2fpackage.json",
    "/assets/none.js",
  ])("are all that there is: %s", async (path) => {
    const answer = await raw(path);
    expect(answer).toMatch(/^HTTP\/1\.1 40[14] /);
    expect(answer).not.toContain("the page</h1>");
  });
});

describe("a login by a secret", () => {
  const login = async (token: string) =>
    (await (await send("POST", "/v1/logins", token)).json()) as { readonly secret: string };
  const begin = (secret: unknown, headers?: Record<string, string>) =>
    send("POST", "/v1/session", "", { secret }, headers);

  it("begins one session, with the rights of the token behind it, which ends with it", async () => {
    const { secret } = await login("viewer-token");
    const answer = await begin(secret);
    expect(answer.status).toBe(201);
    const session = (await answer.json()) as { readonly token: string };
    expect(session).toMatchObject({
      role: "viewer",
      actor: { kind: "token", id: "v" },
      token: expect.stringMatching(/^session-[0-9a-f]{64}$/),
    });
    expect((await begin(secret)).status).toBe(401);
    expect(await (await send("GET", "/v1/session", session.token)).json()).toMatchObject({ role: "viewer" });
    expect((await send("GET", "/v1/vms", session.token)).status).toBe(200);
    expect((await send("PUT", "/v1/kv/k", session.token, { value: "v" })).status).toBe(403);
    service.revoked.add("viewer-token");
    expect((await send("GET", "/v1/vms", session.token)).status).toBe(401);
    service.revoked.clear();
    expect(await (await send("DELETE", "/v1/session", session.token)).json()).toEqual({ ended: true });
    expect((await send("GET", "/v1/vms", session.token)).status).toBe(401);
  });

  it("is for who has a token, and a session makes no other one", async () => {
    expect((await send("POST", "/v1/logins", "")).status).toBe(401);
    const { token } = (await (await begin((await login("admin-token")).secret)).json()) as { readonly token: string };
    expect((await send("POST", "/v1/logins", token)).status).toBe(403);
    for (const secret of ["0".repeat(64), "", 7, null]) expect((await begin(secret)).status).toBe(401);
  });

  it("is refused for other machines, also behind a proxy on this one", async () => {
    const { secret } = await login("admin-token");
    for (const header of ["x-forwarded-for", "forwarded", "x-real-ip"]) {
      expect((await begin(secret, { [header]: "192.0.2.1" })).status).toBe(403);
    }
    expect((await begin(secret, { origin: "http://evil.example" })).status).toBe(403);
    expect((await begin(secret)).status).toBe(201);
  });

  it("says of a token what it may do, and leaves it as it is", async () => {
    expect(await (await send("GET", "/v1/session", "admin-token")).json()).toEqual({
      actor: { kind: "token", id: "a" },
      role: "admin",
    });
    expect(await (await send("DELETE", "/v1/session", "admin-token")).json()).toEqual({ ended: false });
    expect((await send("GET", "/v1/session", "admin-token")).status).toBe(200);
  });
});

describe("sessions of pages", () => {
  let nowMs = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => nowMs, unixMs: () => nowMs };
  const known = () => ({ actor: { kind: "token", id: "a" } as const, access: "admin" as const });

  it("end in time, and so do logins", async () => {
    const sessions = new PageSessions({ clock, random: systemRandom });
    const { secret = "" } = sessions.login("t") ?? {};
    nowMs += 2 * 60_000;
    expect(sessions.begin(secret)).toBeUndefined();
    const { token = "" } = sessions.begin(sessions.login("t")?.secret ?? "") ?? {};
    expect(sessions.caller(token, known)).toMatchObject({ access: "admin" });
    nowMs += 12 * 3_600_000;
    expect(sessions.caller(token, known)).toBeUndefined();
  });

  it("are bounded: the oldest login and the oldest session give way", async () => {
    const sessions = new PageSessions({ clock, random: systemRandom });
    const secrets = Array.from({ length: 17 }, () => sessions.login("t")?.secret ?? "");
    expect(secrets.filter((secret) => sessions.begin(secret) === undefined)).toEqual([secrets[0]]);
    const begin = () => sessions.begin(sessions.login("t")?.secret ?? "")?.token ?? "";
    const tokens = Array.from({ length: 65 }, begin);
    expect(sessions.caller(tokens[0] ?? "", known)).toBeUndefined();
    expect(sessions.caller(tokens[1] ?? "", known)).toBeDefined();
  });
});
