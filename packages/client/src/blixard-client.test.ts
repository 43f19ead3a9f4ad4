import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Clock } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { memoryPins } from "@blixard/identity";
import { afterEach, describe, expect, it } from "@jest/globals";
import { connectClient } from "./blixard-client.ts";
import { RetryClient } from "./retry-client.ts";
import { startPlainServer, startTlsServer, type TestServer } from "./test-server.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function keep<T extends { close(): Promise<void> | void }>(resource: T): T {
  cleanups.push(() => resource.close());
  return resource;
}

const health = { healthy: true, nodeId: 1, clusterId: "c", ready: true, reason: "" };
const healthy: RequestListener = (_, response) => json(response, 200, health);

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** Answers `NO_LEADER` the first `failures` times, then `body`; records what it was asked. */
function recorder(failures: number, body: unknown) {
  const seen: { url: string; key: unknown; authorization: unknown; host: unknown }[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const { "idempotency-key": key, authorization, host } = request.headers;
    seen.push({ url: `${request.method} ${request.url}`, key, authorization, host });
    if (seen.length <= failures) {
      json(response, 503, { error: { code: "NO_LEADER", message: "no leader", outcome: "not_applied" } });
    } else json(response, 200, body);
  };
  return { seen, listener };
}

const deadAddress = async (): Promise<string> => {
  const server = await startPlainServer(healthy);
  await server.close();
  return server.address;
};

describe("BlixardClient.close", () => {
  it("ends what waits for its next attempt", async () => {
    const client = connectClient({ addresses: [await deadAddress()], timeoutMs: 60_000, unreachableMs: 60_000 });
    const asked = client.status();
    client.close();
    await expect(asked).rejects.toMatchObject({ code: "CANCELLED", outcome: "not_applied" });
  });
});

describe("BlixardClient at a node that is no voter", () => {
  const entry = { key: "k", value: "v", createdIndex: 1, updatedIndex: 1, updatedUnixMs: 1, index: 1 };

  it("shows it no token, and goes on at the voters that it names, who prove their keys", async () => {
    const voter = recorder(0, entry);
    const serving = keep(await startTlsServer(voter.listener));
    const voters = [
      { endpointId: serving.endpointId, addresses: [await deadAddress(), serving.address, "https://relay.example"] },
    ];
    const worker = recorder(0, entry);
    const server = keep(await startPlainServer(worker.listener, { role: "worker", voters }));
    const client = keep(connectClient({ addresses: [server.address], token: "secret", timeoutMs: 20_000 }));
    expect(await client.kv.get("k")).toMatchObject({ value: "v" });
    expect(worker.seen).toEqual([]);
    expect(voter.seen.map(({ authorization }) => authorization)).toEqual(["Bearer secret"]);
  });

  it("asks the node first that is preferred, and others where that does not answer", async () => {
    const [first, second] = [recorder(0, entry), recorder(0, entry)];
    const start = keep(await startTlsServer(first.listener));
    const near = keep(await startTlsServer(second.listener));
    const client = keep(connectClient({ addresses: [start.address], token: "secret", pin: start.endpointId }));
    client.prefer({ endpointId: near.endpointId, addresses: [near.address] });
    await client.kv.get("k");
    await client.kv.get("k");
    expect([first.seen.length, second.seen.length]).toEqual([0, 2]);
    client.prefer({ endpointId: near.endpointId, addresses: [await deadAddress()] });
    await client.kv.get("k");
    expect(first.seen.length + second.seen.length).toBe(3);
  });

  it("knows that what reads changes nothing, also where only an operator may read", async () => {
    const client = keep(connectClient({ addresses: [await deadAddress()], unreachableMs: 1 }));
    await client.volumes.read({ name: "v" }).catch(() => {});
    await client.images.statBlob("a".repeat(64)).catch(() => {});
    expect(client.hasOnlyRead).toBe(true);
    await client.volumes.write({ name: "v", data: "" }).catch(() => {});
    expect(client.hasOnlyRead).toBe(false);
  });

  it("shows nothing to a node that cannot prove the key which was named", async () => {
    const { seen, listener } = recorder(0, entry);
    const impostor = keep(await startTlsServer(listener));
    const voters = [{ endpointId: "0".repeat(64), addresses: [impostor.address] }];
    const server = keep(await startPlainServer(listener, { role: "worker", voters }));
    const client = keep(connectClient({ addresses: [server.address], token: "secret" }));
    await expect(client.kv.get("k")).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    expect(seen).toEqual([]);
  });

  it("says so where it names nobody, and shows a node its own token all the same", async () => {
    const { seen, listener } = recorder(0, entry);
    const server = keep(await startPlainServer(listener, { role: "witness" }));
    const lost = keep(connectClient({ addresses: [server.address], token: "secret", timeoutMs: 300 }));
    await expect(lost.kv.get("k")).rejects.toMatchObject({ code: "MISDIRECTED" });
    expect(seen).toEqual([]);
    const own = keep(connectClient({ addresses: [{ address: server.address, token: "own", isOwnToken: true }] }));
    expect(await own.kv.get("k")).toMatchObject({ value: "v" });
    expect(seen[0]?.authorization).toBe("Bearer own");
  });
});

describe("BlixardClient over TLS", () => {
  const connect = (server: TestServer, pin?: string) =>
    keep(connectClient({ addresses: [server.address], token: "t", ...(pin === undefined ? {} : { pin }) }));

  it("accepts the pinned key and names the node by it", async () => {
    const { seen, listener } = recorder(0, health);
    const server = keep(await startTlsServer(listener));
    const client = connect(server, server.endpointId);
    expect(await client.healthCheck()).toEqual(health);
    await client.kv.list().catch(() => {});
    // Who lives says so to anyone.
    expect(seen[0]).toMatchObject({ host: server.endpointId, authorization: undefined });
    expect(seen[1]).toMatchObject({ host: server.endpointId, authorization: "Bearer t" });
  });

  it("sends nothing to another key than the pinned one", async () => {
    const { seen, listener } = recorder(0, health);
    const server = keep(await startTlsServer(listener));
    await expect(connect(server, "0".repeat(64)).healthCheck()).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    expect(seen).toEqual([]);
  });

  it("keeps the key of the first use and refuses a later one", async () => {
    const pins = memoryPins();
    const first = await startTlsServer(healthy);
    const client = keep(connectClient({ addresses: [first.address], pins }));
    await client.healthCheck();
    await first.close();
    const impostor = keep(await startTlsServer(healthy, first.port));
    expect(impostor.port).toBe(first.port);
    await expect(client.healthCheck()).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
  });

  it("never falls back to plain HTTP once a key is pinned", async () => {
    const { seen, listener } = recorder(0, health);
    const server = keep(await startPlainServer(listener));
    await expect(connect(server, "0".repeat(64)).healthCheck()).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
    expect(seen).toEqual([]);
  });
});

describe("BlixardClient over plain HTTP", () => {
  it("takes http:// and finds out about a bare loopback port", async () => {
    const server = keep(await startPlainServer(healthy));
    for (const address of [`http://${server.address}`, server.address]) {
      const client = keep(connectClient({ addresses: [address] }));
      expect(await client.healthCheck()).toEqual(health);
    }
  });
});

describe("an error whose code is of a later release", () => {
  const answer = (fields: object) => ({
    error: { code: "NEW_CODE", message: "the words of it", hint: "what to do", details: { at: 1 }, ...fields },
  });

  it("keeps its words, its outcome and its code as text", async () => {
    const server = keep(await startPlainServer((_, response) => json(response, 409, answer({ outcome: "unknown" }))));
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    await expect(client.kv.put("k", "v")).rejects.toMatchObject({
      code: "INTERNAL",
      message: "the words of it",
      hint: "what to do",
      outcome: "unknown",
      details: { at: 1, code: "NEW_CODE" },
    });
  });

  it("is one to try again after when the node says so", async () => {
    let asked = 0;
    const listener: RequestListener = (_, response) =>
      ++asked === 1 ? json(response, 503, answer({ retryable: true })) : json(response, 200, { index: 7, term: 2 });
    const server = keep(await startPlainServer(listener));
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    expect(await client.kv.put("k", "v")).toEqual({ index: 7, term: 2 });
  });
});

describe("BlixardClient.call", () => {
  it("repeats a write with the same idempotency key", async () => {
    const { seen, listener } = recorder(2, { index: 7, term: 2 });
    const server = keep(await startPlainServer(listener));
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    expect(await client.kv.put("a/b c", "v")).toEqual({ index: 7, term: 2 });
    expect(seen.map((request) => request.url)).toEqual(Array(3).fill("PUT /v1/kv/a%2Fb%20c"));
    expect(new Set(seen.map((request) => request.key)).size).toBe(1);
    expect(String(seen[0]?.key)).toMatch(/^[0-9a-f]{32}$/);
  });

  it("says with a write what was logged before it, over all its attempts", async () => {
    const seen: unknown[] = [];
    const listener: RequestListener = ({ headers }, response) => {
      seen.push(headers["idempotency-since"]);
      const lost = { error: { code: "OUTCOME_UNKNOWN", message: "lost", outcome: "unknown" } };
      if (seen.length < 3) json(response, 503, lost);
      else json(response, 200, { index: 900, term: 2 });
    };
    const server = keep(await startPlainServer(listener, { role: "voter", index: 500 }));
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    await client.kv.put("k", "v");
    expect(seen).toEqual(["500", "500", "500"]);
    // The answer to one write says enough for the next.
    await client.kv.put("k", "v");
    await client.kv.put("k", "v", { idempotencyKey: "own" });
    await client.kv.put("k", "v", { idempotencyKey: "own", sinceIndex: 3 });
    expect(seen.slice(3)).toEqual(["900", undefined, "3"]);
  });

  it("asks anew what was logged when it has not heard of it for a while, and takes no for an answer", async () => {
    let asked = 0;
    const place = {
      role: "voter",
      get index() {
        asked++;
        return 500 * asked;
      },
    } as const;
    const server = keep(await startPlainServer((_, response) => json(response, 200, { index: 1, term: 1 }), place));
    let nowMs = 0;
    const clock: Clock = Object.assign(Object.create(systemClock), { monotonicMs: () => nowMs });
    const client = keep(connectClient({ addresses: [`http://${server.address}`], clock }));
    expect(await client.knownIndex()).toBe(500);
    nowMs += 900;
    expect(await client.knownIndex()).toBe(500);
    nowMs += 200;
    expect(await client.knownIndex()).toBe(1_000);
    const earlier = keep(await startPlainServer((_, response) => json(response, 200, { index: 1, term: 1 })));
    const other = keep(connectClient({ addresses: [`http://${earlier.address}`] }));
    expect(await other.knownIndex()).toBeUndefined();
  });

  it("moves on to an address that answers, and stays there", async () => {
    const { seen, listener } = recorder(0, { items: [], truncated: false });
    const server = keep(await startPlainServer(listener));
    const addresses = [`http://${await deadAddress()}`, `http://${server.address}`];
    const client = keep(connectClient({ addresses }));
    await client.kv.list();
    await client.kv.list("p", { stale: true });
    expect(seen.map((request) => request.url)).toEqual(["GET /v1/kv?prefix=", "GET /v1/kv?consistency=stale&prefix=p"]);
    expect(client.address).toBe(addresses[1]);
  });

  it("does not repeat what will not change", async () => {
    let calls = 0;
    const server = keep(
      await startPlainServer((_, response) => {
        calls++;
        json(response, 409, { error: { code: "CONFLICT", message: "no", hint: "read first", outcome: "not_applied" } });
      }),
    );
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    await expect(client.kv.put("k", "v")).rejects.toMatchObject({ code: "CONFLICT", hint: "read first" });
    expect(calls).toBe(1);
  });

  it("refuses keys that would be steps in a path", async () => {
    const { seen, listener } = recorder(0, {});
    const server = keep(await startPlainServer(listener));
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    for (const key of [".", ".."]) await expect(client.kv.get(key)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(seen).toEqual([]);
  });

  it("gives up with UNREACHABLE when nobody is there", async () => {
    const client = keep(connectClient({ addresses: [await deadAddress()], unreachableMs: 50 }));
    await expect(client.kv.put("k", "v")).rejects.toMatchObject({ code: "UNREACHABLE", outcome: "not_applied" });
  });

  it("says that a write may be applied when its answer never came", async () => {
    const server = keep(await startPlainServer((request) => request.socket.destroy()));
    const client = keep(connectClient({ addresses: [`http://${server.address}`], unreachableMs: 50 }));
    await expect(client.kv.put("k", "v")).rejects.toMatchObject({ code: "UNREACHABLE", outcome: "unknown" });
  });

  it("still says so when later attempts were refused for certain", async () => {
    let calls = 0;
    const server = keep(
      await startPlainServer((request, response) => {
        if (calls++ === 0) request.socket.destroy();
        else json(response, 409, { error: { code: "CONFLICT", message: "no", outcome: "not_applied" } });
      }),
    );
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    await expect(client.kv.put("k", "v")).rejects.toMatchObject({ code: "CONFLICT", outcome: "unknown" });
    expect(calls).toBe(2);
  });

  it("tells the reason that a node gave when the last attempt had no time left for an answer", async () => {
    const asked: number[] = [];
    const server = keep(
      await startPlainServer((request, response) => {
        asked.push(Number(request.headers["blixard-timeout-ms"]));
        if (asked.length > 1) return;
        json(response, 503, { error: { code: "NO_LEADER", message: "no leader", outcome: "not_applied" } });
      }),
    );
    const client = keep(connectClient({ addresses: [`http://${server.address}`], timeoutMs: 400 }));
    await expect(client.nodes.list()).rejects.toMatchObject({ code: "NO_LEADER" });
    expect(asked).toHaveLength(2);
    // The node answers before the caller gives up.
    expect(Math.max(...asked)).toBeLessThan(400);
  });

  it("reports an answer that is not of this API", async () => {
    const server = keep(await startPlainServer((_, response) => response.end("<html>")));
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    await expect(client.status()).rejects.toMatchObject({ code: "ANSWER_UNREADABLE" });
  });
});

describe("RetryClient.connect", () => {
  it("resolves with a healthy node and rejects without one", async () => {
    const server = keep(await startTlsServer(healthy));
    const client = keep(await RetryClient.connect(server.address));
    expect((await client.healthCheck()).healthy).toBe(true);
    const options = { unreachableMs: 50 };
    await expect(RetryClient.connect(await deadAddress(), options)).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
});

describe("lists", () => {
  it("are asked for whole, and read page by page when they are too large for one answer", async () => {
    const seen: string[] = [];
    const server = keep(
      await startPlainServer((request, response) => {
        seen.push(request.url ?? "");
        const query = new URL(request.url ?? "", "http://localhost").searchParams;
        if (!query.has("limit")) {
          json(response, 413, { error: { code: "VALUE_TOO_LARGE", message: "too large", outcome: "not_applied" } });
        } else if (query.get("after") === null) json(response, 200, { items: [certificate(1)], next: "1/a" });
        else json(response, 200, { items: [certificate(2)] });
      }),
    );
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    expect((await client.certificates.list()).map(({ nodeId }) => nodeId)).toEqual([1, 2]);
    expect(seen).toEqual([
      "/v1/certificates",
      "/v1/certificates?limit=10000",
      "/v1/certificates?limit=10000&after=1%2Fa",
    ]);
  });

  it("fail at the end of what an older release has cut", async () => {
    const { listener } = recorder(0, { items: [{ key: "k", value: "v", index: 1 }], truncated: true });
    const server = keep(await startPlainServer(listener));
    const client = keep(connectClient({ addresses: [`http://${server.address}`] }));
    const pages = client.kv.pages();
    expect((await pages.next()).value).toMatchObject({ truncated: true });
    await expect(pages.next()).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });
});

const certificate = (nodeId: number) => ({
  nodeId,
  kind: "node-key",
  subject: "",
  issuer: "",
  serial: "",
  notBeforeUnixMs: 0,
  notAfterUnixMs: 0,
  fingerprint: "a".repeat(64),
});
