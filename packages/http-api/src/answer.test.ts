import { connect, type Socket } from "node:net";
import { silentLogger, Watch } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { afterEach, beforeEach, expect, it } from "@jest/globals";
import { createHttpApi } from "./create-http-api.ts";
import { type Listener, listenPlain } from "./listeners.ts";
import { TestService } from "./testing/test-service.ts";
import { TextMetrics } from "./testing/text-metrics.ts";

let listener: Listener;
let socket: Socket;
let heard: Watch<string>;
let ended: Watch<boolean>;

beforeEach(async () => {
  const metrics = new TextMetrics();
  const deps = {
    ...{ clock: systemClock, random: systemRandom, logger: silentLogger, metrics, nodeId: 1 },
    endpointId: "e".repeat(64),
    clusterId: () => "cluster",
    storageHealthy: () => true,
    metricsText: async () => metrics.text(),
  };
  const api = createHttpApi(deps, { version: "0.0.0-test", debugApi: false, allowedHosts: [] });
  api.serve(new TestService());
  listener = await listenPlain("127.0.0.1:0", api, "--http");
  socket = connect(listener.port, "127.0.0.1");
  heard = new Watch("");
  ended = new Watch(false);
  socket.on("data", (bytes: Buffer) => heard.update((text) => text + bytes.toString("utf8")));
  socket.on("error", () => {});
  socket.on("close", () => ended.set(true));
});

afterEach(async () => {
  socket.destroy();
  await listener.close(0);
});

it("ends the connection of a caller that goes on sending a body which nobody reads", async () => {
  socket.write("POST /v1/blobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n");
  const sending = setInterval(() => socket.write(Buffer.alloc(1_024)), 10);
  try {
    await heard.until((text) => text.includes("UNAUTHENTICATED"));
    await ended.until((isEnded) => isEnded);
  } finally {
    clearInterval(sending);
  }
});

it("keeps the connection of a caller whose refused body was all there", async () => {
  socket.write("POST /v1/blobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc");
  await heard.until((text) => text.includes("UNAUTHENTICATED"));
  socket.write("GET /v1/nothing HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer admin-token\r\n\r\n");
  await heard.until((text) => text.includes("NOT_FOUND"));
  expect(ended.value).toBe(false);
});

it("gives the headers of an answer to HEAD, and no body", async () => {
  socket.write("HEAD /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
  await heard.until((text) => text.includes('"healthy":true'));
  const [head, rest = ""] = heard.value.split("\r\n\r\n");
  expect(head).toMatch(/content-length: [1-9]/);
  expect(rest.startsWith("HTTP/1.1 200 OK")).toBe(true);
});
