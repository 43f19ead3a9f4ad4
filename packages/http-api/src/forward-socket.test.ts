import { connectClient } from "@blixard/client";
import { silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { createHttpApi, type HttpApi } from "./create-http-api.ts";
import { type Listener, listenPlain } from "./listeners.ts";
import { TestService } from "./testing/test-service.ts";
import { TextMetrics } from "./testing/text-metrics.ts";

let service: TestService;
let listener: Listener;
let api: HttpApi;

beforeEach(async () => {
  service = new TestService();
  const metrics = new TextMetrics();
  const about = { nodeId: 1, endpointId: "e".repeat(64), clusterId: () => "cluster", storageHealthy: () => true };
  const ports = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics };
  api = createHttpApi(
    { ...about, ...ports, metricsText: async () => metrics.text() },
    { version: "0.0.0-test", debugApi: false, allowedHosts: [] },
  );
  api.serve(service);
  listener = await listenPlain("127.0.0.1:0", api, "--http");
});

afterEach(async () => {
  api.close();
  await listener.close(0);
});

describe("connections to ports of VMs", () => {
  const connected = async (port: number, pieces: readonly Uint8Array[], token = "admin-token", more = {}) => {
    await using client = connectClient({ addresses: [`http://${listener.address}`], token });
    const input = (async function* () {
      yield* pieces;
    })();
    const came: Uint8Array[] = [];
    let ends = 0;
    for await (const { data, ended } of await client.vms.openForward({ name: "web", port, ...more }, { input })) {
      came.push(data);
      if (ended) ends++;
    }
    return { came: Buffer.concat(came), ends };
  };

  it("carry bytes both ways until both sides have ended", async () => {
    const pieces = Array.from({ length: 40 }, (_, at) => new Uint8Array(50_000).fill(at));
    const { came, ends } = await connected(7, pieces);
    expect(ends).toBe(1);
    expect(came.equals(Buffer.concat([...pieces, Buffer.from("2000000")]))).toBe(true);
    expect((await connected(7, [])).came.toString()).toBe("0");
    expect((await connected(7, [], "admin-token", { network: "lan" })).came.toString()).toBe("0lan");
  });

  it("say what they are refused with, and that they broke", async () => {
    await expect(connected(8, [])).rejects.toMatchObject({
      code: "GUEST_UNREACHABLE",
      message: "the connection is refused",
    });
    await expect(connected(13, [new Uint8Array(1), new Uint8Array(1)])).rejects.toMatchObject({
      code: "GUEST_UNREACHABLE",
      message: "the guest has reset the connection",
    });
    await expect(connected(7, [], "viewer-token")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(connected(70_000, [])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("end with their reader, and with their signal", async () => {
    await using client = connectClient({ addresses: [`http://${listener.address}`], token: "admin-token" });
    const left = new AbortController();
    const waiting = async function* () {
      yield new Uint8Array(1);
      await new Promise(() => {});
    };
    const output = await client.vms.openForward({ name: "web", port: 7 }, { input: waiting(), signal: left.signal });
    const reader = output[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ ended: false });
    left.abort();
    await expect(reader.next()).rejects.toMatchObject({ code: "CANCELLED" });
    await service.open.until((count) => count === 0);
    for await (const _ of await client.vms.openForward({ name: "web", port: 7 }, { input: waiting() })) break;
    await service.open.until((count) => count === 0);
  });
});
