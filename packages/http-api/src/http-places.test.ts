import { Agent, request as httpRequest } from "node:http";
import { request as httpsRequest, Agent as TlsAgent } from "node:https";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { silentLogger, Watch } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { NodeTls } from "@blixard/identity";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createHttpApi } from "./create-http-api.ts";
import { type Listener, listenPlain, listenTls } from "./listeners.ts";
import { TestService } from "./testing/test-service.ts";
import { TextMetrics } from "./testing/text-metrics.ts";

const strangersMax = 6;
const callersMax = 2;
let listener: Listener;
let metrics: TextMetrics;
const agents: Agent[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const agent of agents.splice(0)) agent.destroy();
  await listener.close(0);
});

async function start(kind: "plain" | "TLS"): Promise<void> {
  metrics = new TextMetrics();
  const api = createHttpApi(
    {
      ...{ clock: systemClock, random: systemRandom, logger: silentLogger, metrics },
      ...{ nodeId: 1, endpointId: "e".repeat(64), clusterId: () => "cluster" },
      ...{ storageHealthy: () => true, metricsText: async () => metrics.text() },
    },
    { version: "0.0.0-test", debugApi: false, allowedHosts: [], places: { strangersMax, callersMax } },
  );
  api.serve(new TestService());
  const tls = new NodeTls({ clock: systemClock, secretKey: systemRandom.bytes(32) });
  listener =
    kind === "plain"
      ? await listenPlain("127.0.0.1:0", api, "--http")
      : await listenTls("127.0.0.1:0", tls, { ...api, protocols: {} }, "--bind");
}

/** Somebody who keeps one connection open. `ask` resolves with the status and the port of the connection; `gone` counts those that ended. */
function caller(kind: "plain" | "TLS", token: string | undefined) {
  const agent = kind === "plain" ? new Agent({ keepAlive: true }) : new TlsAgent({ keepAlive: true });
  agents.push(agent);
  const request = kind === "plain" ? httpRequest : httpsRequest;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const at = { host: "127.0.0.1", port: listener.port, agent, rejectUnauthorized: false, headers };
  const gone = new Watch(0);
  const countGone = () => gone.set(gone.value + 1);
  return {
    gone,
    ask: () =>
      new Promise<readonly [number | undefined, number | undefined]>((resolve, reject) => {
        const asked = request({ ...at, path: "/v1/kv" }, (response) => {
          const port = response.socket.localPort;
          response.resume().once("end", () => resolve([response.statusCode, port]));
        });
        asked.once("socket", (socket) => {
          if (socket.listenerCount("close", countGone) === 0) socket.once("close", countGone);
        });
        asked.once("error", reject).end();
      }),
    /** Sends the head of a write; the function that it resolves with sends the rest, and resolves with the status. */
    begin: () =>
      new Promise<() => Promise<number | undefined>>((resolve, reject) => {
        const writing = { ...at.headers, "content-length": "13", expect: "100-continue" };
        const asked = request({ ...at, path: "/v1/kv/a", method: "PUT", headers: writing });
        const status = new Promise<number | undefined>((answered) => {
          asked.once("response", (response) => answered(response.resume().statusCode));
        });
        asked.once("error", reject).once("continue", () => {
          asked.write("{");
          resolve(() => {
            asked.end(`"value":"v"}`);
            return status;
          });
        });
      }),
  };
}

/** Opens so many connections that say nothing, and tells how many of them the node keeps. */
async function flood(kind: "plain" | "TLS", count: number): Promise<Watch<number>> {
  const open = new Watch(0);
  for (let at = 0; at < count; at++) {
    const to = { host: "127.0.0.1", port: listener.port };
    const socket = kind === "plain" ? connect(to) : connectTls({ ...to, rejectUnauthorized: false });
    sockets.push(socket);
    socket.on("error", () => {}).resume();
    socket.once("close", () => open.set(open.value - 1));
    await new Promise((resolve) => socket.once(kind === "plain" ? "connect" : "secureConnect", resolve));
    open.set(open.value + 1);
  }
  return open;
}

const evicted = (door: string) =>
  Number(new RegExp(`evicted_total\\{door="${door}"\\} (\\d+)`).exec(metrics.text())?.[1]);

describe.each(["plain", "TLS"] as const)("the places of the HTTP API (%s)", (kind) => {
  it("serve everybody beside more silent connections than there are places, and keep those with a token", async () => {
    await start(kind);
    const first = caller(kind, "admin-token");
    const [status, port] = await first.ask();
    expect(status).toBe(200);
    const open = await flood(kind, 3 * strangersMax);
    await open.until((count) => count <= strangersMax);
    expect(open.value).toBe(strangersMax);
    expect(evicted("http_stranger")).toBe(2 * strangersMax);
    expect(await first.ask()).toEqual([200, port]);
    expect(await caller(kind, "admin-token").ask()).toEqual([200, expect.any(Number)]);
    expect(await caller(kind, undefined).ask()).toEqual([401, expect.any(Number)]);
  });
});

describe("the places of the HTTP API", () => {
  it("end no request of a caller, and the connection of one that is idle", async () => {
    await start("plain");
    const [busy, idle, third, fourth] = [1, 2, 3, 4].map(() => caller("plain", "admin-token"));
    const finish = await busy?.begin();
    expect(await idle?.ask()).toEqual([200, expect.any(Number)]);
    expect((await third?.begin())?.length).toBe(0);
    expect(evicted("http_caller")).toBe(1);
    // All places of callers are in use, so it stays a stranger, and is answered.
    expect(await fourth?.ask()).toEqual([200, expect.any(Number)]);
    expect(evicted("http_caller")).toBe(1);
    await idle?.gone.until((count) => count === 1);
    expect(await finish?.()).toBe(200);
  });

  it("do not take a connection with a wrong token for a caller's", async () => {
    await start("plain");
    const wrong = caller("plain", "wrong");
    expect(await wrong.ask()).toEqual([401, expect.any(Number)]);
    await flood("plain", strangersMax);
    await wrong.gone.until((count) => count === 1);
    expect(evicted("http_stranger")).toBe(1);
  });
});
