import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { connectClient } from "@blixard/client";
import { BlixardError, type Clock, silentLogger, Watch } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { headers, streamHeartbeatMs } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { createHttpApi } from "./create-http-api.ts";
import { type HttpDeps, httpLimits } from "./http-types.ts";
import { type Listener, type ListenerHandlers, listenPlain } from "./listeners.ts";
import { TestService, vmRecord } from "./testing/test-service.ts";
import { TextMetrics } from "./testing/text-metrics.ts";

let service: TestService;
let listener: Listener;
let metrics: TextMetrics;
let openStreams: Watch<number>;
/** Timers of the server that wait; they run when a test says so. */
let timers: Set<{ readonly delayMs: number; readonly run: () => void }>;
let armed: Watch<number>;
let responses: IncomingMessage[];
/** Of the listener that is made next. */
let stalledMs = 60_000;

const clock: Clock = {
  ...systemClock,
  setTimer(delayMs, run) {
    const timer = { delayMs, run };
    timers.add(timer);
    armed.set(timers.size);
    return {
      cancel: () => {
        timers.delete(timer);
        armed.set(timers.size);
      },
    };
  },
};

/** The connection of the server on which something was asked last. */
let asked: Socket | undefined;

beforeEach(() => listen());

async function listen(): Promise<void> {
  service = new TestService();
  openStreams = new Watch(0);
  metrics = new TextMetrics((name, value) => {
    if (name === "blixard_http_streams") openStreams.set(value);
  });
  timers = new Set();
  armed = new Watch(0);
  responses = [];
  const deps: HttpDeps = {
    clock,
    random: systemRandom,
    logger: silentLogger,
    metrics,
    nodeId: 1,
    endpointId: "e".repeat(64),
    clusterId: () => "cluster",
    storageHealthy: () => true,
    metricsText: async () => metrics.text(),
  };
  const options = { version: "0.0.0-test", debugApi: false, allowedHosts: [], streamStalledMsMax: stalledMs };
  const api = createHttpApi(deps, options);
  api.serve(service);
  const handlers: ListenerHandlers = {
    ...api,
    onRequest: (incoming, outgoing) => {
      asked = incoming.socket;
      return api.onRequest(incoming, outgoing);
    },
  };
  listener = await listenPlain("127.0.0.1:0", handlers, "--http");
}

afterEach(async () => {
  stalledMs = 60_000;
  asked = undefined;
  for (const response of responses) response.destroy();
  await listener.close(0);
});

/** Opens `path`; `lines` reads the next lines of the body as they are. */
async function get(path: string, given: Record<string, string> = {}) {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpRequest({
      port: listener.port,
      host: "127.0.0.1",
      path,
      headers: { authorization: "Bearer admin-token", ...given },
    });
    request.once("error", reject);
    request.once("response", resolve);
    request.end();
  });
  response.on("error", () => {});
  responses.push(response);
  const pieces = response[Symbol.asyncIterator]();
  let text = "";
  const lines = async (count: number) => {
    while (text.split("\n").length <= count) {
      const { value, done } = await pieces.next();
      if (done) break;
      text += String(value);
    }
    const all = text.split("\n");
    text = all.slice(count).join("\n");
    return all.slice(0, count);
  };
  const rest = async () => {
    for (;;) {
      const { value, done } = await pieces.next();
      if (done) return text;
      text += String(value);
    }
  };
  return { response, lines, rest };
}

const put = (key: string, value: string, index: number) => ({ type: "put", entry: { key, value, index } });

describe("GET with the flag of a stream", () => {
  it("answers one item a line, and never ends by itself", async () => {
    await using client = connectClient({ addresses: [`http://${listener.address}`], token: "admin-token" });
    await client.kv.put("a/1", "v\n");
    const { response, lines } = await get("/v1/kv?watch=true&prefix=a/");
    expect(response.headers).toMatchObject({ "content-type": "application/x-ndjson", "cache-control": "no-store" });
    const [empty, first, current] = await lines(3);
    expect(empty).toBe("");
    expect([first, current].map((line) => JSON.parse(line ?? ""))).toEqual([put("a/1", "v\n", 2), { type: "current" }]);
    await client.kv.put("b/1", "elsewhere");
    await client.kv.delete("a/1");
    expect(await lines(1)).toEqual(['{"type":"delete","key":"a/1"}']);
    expect(metrics.text()).toContain("blixard_http_streams 1");
  });

  it("gives up the place of an answer that waited behind another when its connection ended", async () => {
    const socket = connect(listener.port, "127.0.0.1");
    const request = "GET /v1/kv?watch=true HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer admin-token\r\n\r\n";
    socket.write(request.repeat(3));
    await openStreams.until((count) => count === 3);
    socket.destroy();
    await openStreams.until((count) => count === 0);
  });

  it("gives up the place of a caller that takes nothing any more", async () => {
    await listener.close(0);
    stalledMs = 100;
    await listen();
    const value = "v".repeat(64 * 1024);
    service.stream = async () =>
      (async function* () {
        for (let index = 0; ; index++) yield put("k", value, index);
      })() as never;
    const { lines } = await get("/v1/kv?watch=true");
    await lines(1);
    expect(openStreams.value).toBe(1);
    await openStreams.until((count) => count === 0);
  });

  it("takes no place, and opens nothing, for a caller that has gone while it was looked up", async () => {
    const looksUp = new Watch(0);
    const { authenticate } = service;
    service.authenticate = (token) => {
      if (looksUp.value === 0) asked?.destroy();
      looksUp.update((count) => count + 1);
      return authenticate.call(service, token);
    };
    const opened = new Watch(0);
    service.stream = () => {
      opened.update((count) => count + 1);
      return Promise.reject(new BlixardError("INTERNAL", "nobody listens"));
    };
    const socket = connect(listener.port, "127.0.0.1");
    socket.write("GET /v1/kv?watch=true HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer admin-token\r\n\r\n");
    await looksUp.until((count) => count === 1);
    socket.destroy();
    // The next stream is opened after the one whose caller has gone.
    expect((await get("/v1/kv?watch=true")).response.statusCode).toBe(500);
    expect(opened.value).toBe(1);
    await openStreams.until((count) => count === 0);
  });

  it("answers events to who asks for them, and bytes as base64", async () => {
    const { response, lines } = await get("/v1/vms/web/logs?follow=true&offset=-4", { accept: "text/event-stream" });
    expect(response.headers["content-type"]).toBe("text/event-stream");
    expect(await lines(4)).toEqual([":", "", `data: {"offset":4,"data":"${btoa("ing\n")}"}`, ""]);
  });

  it("watches one VM, or all", async () => {
    const one = await get("/v1/vms?watch=true&name=db");
    expect((await one.lines(3)).slice(1).map((line) => JSON.parse(line))).toEqual([
      { type: "put", vm: { ...vmRecord, name: "db" } },
      { type: "current" },
    ]);
    const all = await get("/v1/vms?watch=true");
    await all.lines(3);
    service.vms.set(
      new Map([
        ["db", undefined],
        ["web", undefined],
      ]),
    );
    expect(await one.lines(1)).toEqual(['{"type":"delete","name":"db"}']);
    expect(await all.lines(1)).toEqual(['{"type":"delete","name":"web"}']);
  });

  it("says in its last item why it ended, and stands in the way of no stop", async () => {
    const { response, rest, lines } = await get("/v1/kv?watch=true", { [headers.requestId]: "x" });
    await lines(2);
    const closed = listener.close(600_000);
    service.endStreams(new BlixardError("STOPPED", "the node is stopping"));
    expect(JSON.parse(await rest())).toEqual({
      error: expect.objectContaining({ code: "STOPPED", retryable: true, requestId: response.headers["x-request-id"] }),
    });
    await closed;
  });

  it("ends with who asked for it", async () => {
    const { response, lines } = await get("/v1/kv?watch=true");
    await lines(2);
    expect(service.open.value).toBe(1);
    response.destroy();
    await service.open.until((count) => count === 0);
  });

  it.each([
    ["/v1/kv?watch=true", { authorization: "Bearer nobody" }, 401, "UNAUTHENTICATED"],
    ["/v1/kv?watch=true&limit=1", {}, 400, "INVALID_ARGUMENT"],
    ["/v1/kv?watch=yes", {}, 400, "INVALID_ARGUMENT"],
    ["/v1/vms/none/logs?follow=true&offset=0", {}, 404, "VM_NOT_FOUND"],
  ])("refuses %s like any other call", async (path, given, status, code) => {
    const { response, rest } = await get(path, given);
    expect(response.statusCode).toBe(status);
    expect(JSON.parse(await rest())).toMatchObject({ error: { code } });
  });

  it("shows that it lives while there is nothing to tell", async () => {
    const { lines } = await get("/v1/kv?watch=true");
    await lines(2);
    for (let beat = 0; beat < 3; beat++) {
      await armed.until((count) => count > 0);
      const [timer] = timers;
      expect(timer?.delayMs).toBe(streamHeartbeatMs);
      timers.clear();
      armed.set(0);
      timer?.run();
      expect(await lines(1)).toEqual([""]);
    }
  });

  it("reads no more of the service than its caller takes", async () => {
    const value = "v".repeat(64 * 1024);
    const given: { count: number }[] = [];
    service.stream = async () => {
      const taken = { count: 0 };
      given.push(taken);
      return (async function* () {
        for (; ; taken.count++) yield put("k", value, taken.count);
      })() as never;
    };
    const slow = await get("/v1/kv?watch=true");
    const quick = await get("/v1/kv?watch=true");
    await slow.lines(1);
    for (let count = 0; count < 1_000; count++) await quick.lines(1);
    expect(given[1]?.count).toBeGreaterThan(990);
    // What the sockets of both sides hold.
    expect(given[0]?.count).toBeLessThan(500);
  });

  it("is refused when too many are open", async () => {
    await Promise.all(Array.from({ length: httpLimits.streamsMax }, () => get("/v1/kv?watch=true")));
    const refused = await get("/v1/kv?watch=true");
    expect(refused.response.statusCode).toBe(429);
    expect(JSON.parse(await refused.rest())).toMatchObject({ error: { code: "OVERLOADED" } });
    responses[0]?.destroy();
    await service.open.until((count) => count < httpLimits.streamsMax);
    expect((await get("/v1/kv?watch=true")).response.statusCode).toBe(200);
  });
});

describe("GET /v1/openapi.json", () => {
  it("describes the streams", async () => {
    const { rest } = await get("/v1/openapi.json");
    const { paths } = JSON.parse(await rest());
    for (const [path, flag, others] of [
      ["/v1/kv", "watch", []],
      ["/v1/vms", "watch", ["name"]],
      ["/v1/vms/{name}/logs", "follow", []],
    ] as const) {
      const { parameters, responses } = paths[path].get;
      const names = parameters.map(({ name }: { name?: string }) => name);
      expect(names).toEqual(expect.arrayContaining([flag, ...others]));
      expect(new Set(names.filter(Boolean)).size).toBe(names.filter(Boolean).length);
      expect(Object.keys(responses["200"].content)).toEqual(
        expect.arrayContaining(["application/json", "application/x-ndjson", "text/event-stream"]),
      );
    }
    const logs = paths["/v1/vms/{name}/logs"].get.responses["200"].content["application/x-ndjson"].schema;
    expect(logs.anyOf[0].properties.data).toMatchObject({ type: "string", contentEncoding: "base64" });
    expect(logs.anyOf[1]).toEqual({ $ref: "#/components/schemas/Error" });
  });
});

describe("BlixardClient.kv.watch over HTTP", () => {
  it("tells more keys than one list holds, and what becomes of them", async () => {
    await using client = connectClient({ addresses: [`http://${listener.address}`], token: "admin-token" });
    const count = 12_000;
    for (let at = 0; at < count; at++) service.put(`k/${at}`, "v");
    const told = new Set<string>();
    for await (const change of client.kv.watch("k/")) {
      if (change.type === "put") told.add(change.entry.key);
      if (change.type === "current") {
        expect(told.size).toBe(count);
        await client.kv.put("k/last", "w");
      }
      if (told.has("k/last")) break;
    }
    await service.open.until((open) => open === 0);
  });
});
