import { createServer, type Server } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { LoadClient } from "./load-client.ts";
import { countLost, expectedMarks, type LoadPlan } from "./load-plan.ts";

describe("LoadClient", () => {
  let server: Server;
  const held = new Map<string, string>();
  let [puts, gets, refuseFrom] = [0, 0, Number.POSITIVE_INFINITY];

  beforeEach(async () => {
    held.clear();
    [puts, gets, refuseFrom] = [0, 0, Number.POSITIVE_INFINITY];
    server = createServer(async (request, response) => {
      const key = decodeURIComponent(request.url?.slice("/v1/kv/".length) ?? "");
      let body = "";
      for await (const chunk of request) body += chunk;
      if (request.method === "GET") gets++;
      else if (++puts >= refuseFrom) response.statusCode = 429;
      else held.set(key, (JSON.parse(body) as { value: string }).value);
      response.end(JSON.stringify({ value: held.get(key) }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(() => new Promise((resolve) => server.close(resolve)));

  const plan = (parts: Partial<LoadPlan>): LoadPlan => ({
    ...{ kind: "put", round: "r", clients: 1, valueBytes: 100, keysPerClient: 3, uniqueKeys: false },
    ...parts,
  });
  function clientOf(of: LoadPlan): LoadClient {
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const endpoints = [{ host: "127.0.0.1", port, token: "t" }];
    return new LoadClient({ dialect: "blixard", endpoints, plan: of, durationMs: 1 }, 0);
  }
  /** Goes round until so many requests were answered, or the client gave up. */
  async function loopUntil(client: LoadClient, enough: () => boolean): Promise<void> {
    while (!enough() && client.failure === undefined) await client.loop(0, performance.now() + 5);
  }

  it("writes what the plan says, and the server holds all that it counts", async () => {
    const of = plan({});
    const client = clientOf(of);
    await client.fill();
    await client.loop(0, performance.now() + 50);
    client.close();
    expect(client.failure).toBeUndefined();
    expect([client.writes, client.latenciesMs.length]).toEqual([puts, client.operations]);
    const expected = expectedMarks([{ plan: of, writesByClient: [client.writes], uncertainClients: [] }]);
    expect(countLost(expected, held)).toBe(0);
  });

  it("fills before it reads, and nothing of that counts", async () => {
    const client = clientOf(plan({ kind: "mix" }));
    await client.fill();
    expect([client.filled, client.operations, puts]).toEqual([3, 0, 3]);
    await loopUntil(client, () => gets >= 9);
    client.close();
    expect(client.failure).toBeUndefined();
    expect(client.operations).toBe(gets + puts - 3);
  });

  it("ends at its first failure, and says that this write is uncertain", async () => {
    refuseFrom = 5;
    const client = clientOf(plan({}));
    await client.fill();
    await loopUntil(client, () => false);
    expect(client.failure).toMatch(/^429/);
    expect([client.writes, client.isUncertain, puts]).toEqual([4, true, 5]);
  });

  it("fails when nobody listens", async () => {
    const client = clientOf(plan({}));
    await new Promise((resolve) => server.close(resolve));
    await client.fill();
    expect(client.failure).toMatch(/ECONNREFUSED/);
  });
});
