import type { IncomingMessage, ServerResponse } from "node:http";
import { BlixardError, fromUtf8, toUtf8, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { memoryPins } from "@blixard/identity";
import type { VmPhase } from "@blixard/protocol";
import { afterEach, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { connectClient } from "./blixard-client.ts";
import { linesOf, openHttpConsole, openHttpStream } from "./http-streams.ts";
import { NodeEndpoint } from "./node-endpoint.ts";
import { startPlainServer } from "./test-server.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A node whose answers are given in turn; the last one answers all that follow. */
async function node(...answers: ((response: ServerResponse, request: IncomingMessage) => void)[]) {
  const asked: string[] = [];
  const server = await startPlainServer((request, response) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)];
    asked.push(`${request.method} ${request.url}`);
    answer?.(response, request);
  });
  const address = `http://${server.address}`;
  const client = connectClient({ addresses: [address], token: "t" });
  cleanups.push(server.close, () => client.close());
  return { asked, client, server };
}

function items(response: ServerResponse, ...values: unknown[]): ServerResponse {
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.write(`\n${values.map((value) => `${JSON.stringify(value)}\n`).join("")}`);
  return response;
}

/** Breaks the connection when what was written has gone out. */
const cut = (response: ServerResponse) => response.write("\n", () => response.destroy());

const put = (key: string, index: number) => ({ type: "put", entry: { key, value: "v", index } });
const current = { type: "current" };
const vm = (phase: VmPhase, updatedIndex: number) => ({
  type: "put",
  vm: {
    name: "web",
    vmId: "00000000-0000-4000-8000-000000000001",
    spec: { vcpus: 1, memoryMiB: 64, image: "demo", onPartition: "stop", restartPolicy: "on-failure" },
    desired: "running",
    phase,
    node: 1,
    fencingEpoch: 1,
    conditions: [],
    reason: "because",
    message: "",
    driver: null,
    guest: "none",
    restarts: 0,
    placement: "",
    createdUnixMs: 1,
    updatedUnixMs: 1,
    createdIndex: 1,
    updatedIndex,
  },
});
const failure = (code: string) => ({ error: { code, message: "no", hint: null, outcome: "not_applied" } });
const json = (response: ServerResponse, status: number, body: unknown) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));

async function* given(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

describe("linesOf", () => {
  it("gives the lines however the body was cut", async () => {
    const line = fc.string({ unit: "grapheme", maxLength: 20 }).map((text) => text.replaceAll("\n", " "));
    const property = fc.asyncProperty(fc.array(line), fc.infiniteStream(fc.nat({ max: 9 })), async (lines, cuts) => {
      const body = fromUtf8(lines.map((text) => `${text}\n`).join(""));
      const pieces: Uint8Array[] = [];
      for (let from = 0; from < body.length; ) {
        const length = Number(cuts.next().value);
        pieces.push(body.subarray(from, from + length));
        from += length;
        if (length === 0) pieces.push(body.subarray(from, ++from));
      }
      const read: string[] = [];
      for await (const bytes of linesOf(given(pieces))) read.push(toUtf8(bytes));
      expect(read).toEqual(lines.filter((text) => text !== ""));
    });
    await fc.assert(property, { numRuns: 200 });
  });

  it.each([
    ["a line without end", [new Uint8Array(1024 * 1024), new Uint8Array(1)], "ANSWER_UNREADABLE"],
    ["a last line that was cut off", [fromUtf8("{}\n{")], "UNREACHABLE"],
  ])("refuses %s", async (_, pieces, code) => {
    const read = async () => {
      for await (const _line of linesOf(given(pieces)));
    };
    await expect(read()).rejects.toMatchObject({ code });
  });
});

describe("streams over HTTP", () => {
  const open = (client: Awaited<ReturnType<typeof node>>["client"]) => client.stream("kv.watch", { prefix: "a b" });
  const readAll = async (items: AsyncIterable<unknown>) => {
    const read: unknown[] = [];
    for await (const item of items) read.push(item);
    return read;
  };

  it("ask with the flag, and end where the node ends them", async () => {
    const { client, asked } = await node((response) => items(response, put("a b", 1), current).end());
    expect(await readAll(await open(client))).toEqual([put("a b", 1), current]);
    expect(asked).toEqual(["GET /v1/kv?watch=true&prefix=a+b"]);
  });

  it.each<[string, (response: ServerResponse) => unknown, string]>([
    ["an item of another form", (response) => items(response, { type: "moved" }), "ANSWER_UNREADABLE"],
    ["a line that is no JSON", (response) => items(response).write("<html>\n"), "ANSWER_UNREADABLE"],
    ["an error as the last item", (response) => items(response, failure("STOPPED")).end(), "STOPPED"],
    ["a connection that breaks", (response) => cut(items(response)), "UNREACHABLE"],
  ])("tell %s", async (_, answer, code) => {
    const { client } = await node(answer);
    await expect(open(client).then(readAll)).rejects.toMatchObject({ code });
  });

  it("are opened again when they are refused for now", async () => {
    const { client, asked } = await node(
      (response) => json(response, 503, failure("NO_LEADER")),
      (response) => items(response, current).end(),
    );
    expect(await readAll(await open(client))).toEqual([current]);
    expect(asked).toHaveLength(2);
  });

  it("break when the node is silent for too long", async () => {
    const { server } = await node((response) => items(response));
    const address = { host: "127.0.0.1", port: server.port, scheme: "http", text: "the node" } as const;
    const endpoint = new NodeEndpoint({ address, token: undefined, pins: memoryPins() });
    const exchange = { verb: "GET", path: "/", headers: {}, timeoutMs: 60_000 };
    const { body } = await endpoint.open(exchange, 50);
    await expect(readAll(body)).rejects.toMatchObject({ code: "UNREACHABLE" });
    endpoint.close();
  });

  it("outlive the time for their opening, and end with their signal and their reader", async () => {
    const gone = new Watch(0);
    const { client } = await node((response, { url }) => {
      if (url?.startsWith("/v1/vms")) return;
      items(response, current);
      response.once("close", () => gone.update((count) => count + 1));
    });
    const over = new AbortController();
    const first = (await client.stream("kv.watch", {}, { timeoutMs: 50, signal: over.signal }))[Symbol.asyncIterator]();
    expect(await first.next()).toMatchObject({ value: current });
    const next = first.next();
    // An opening with the same time that begins later and is not answered: when that is over, so is the first one's.
    await expect(client.stream("vm.watch", {}, { timeoutMs: 50 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    over.abort();
    await expect(next).rejects.toMatchObject({ code: "CANCELLED" });
    for await (const _ of await client.stream("kv.watch", {})) break;
    await gone.until((count) => count === 2);
  });
});

describe("a stream over HTTP that nobody reads", () => {
  async function opened(unreadMsMax: number, answer: (response: ServerResponse) => void) {
    const gone = new Watch(false);
    const { server } = await node((response) => {
      response.once("close", () => gone.set(true));
      answer(response);
    });
    const address = { host: "127.0.0.1", port: server.port, scheme: "http", text: "the node" } as const;
    const endpoint = new NodeEndpoint({ address, token: undefined, pins: memoryPins() });
    cleanups.push(() => endpoint.close());
    const stream = await openHttpStream(endpoint, "kv.watch", {}, { timeoutMs: 60_000 }, unreadMsMax);
    return { gone, endpoint, items: stream[Symbol.asyncIterator]() };
  }

  it("gives up its connection after a time, and says so to who reads it later", async () => {
    const { gone, items: unread } = await opened(50, (response) => items(response, current));
    await gone.until((closed) => closed);
    await expect(unread.next()).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("nobody read it for 50 ms"),
    });
  });

  it("gives it up as well where its reader went after some items, and not while a reader waits for one", async () => {
    const waited = await opened(50, (response) => items(response, current));
    const left = await opened(50, (response) => items(response, current));
    await waited.items.next();
    const next = waited.items.next();
    await left.items.next();
    await left.gone.until((closed) => closed);
    expect(waited.gone.value).toBe(false);
    waited.endpoint.close();
    await expect(next).rejects.toMatchObject({ code: "UNREACHABLE" });
  });

  it("ends when it is left before it was read, and with its client", async () => {
    const left = await opened(600_000, (response) => items(response, current));
    await left.items.return?.();
    await left.gone.until((closed) => closed);
    const closed = await opened(600_000, (response) => items(response, current));
    closed.endpoint.close();
    await closed.gone.until((isClosed) => isClosed);
  });

  it("takes no more from the node than fits into the buffers", async () => {
    const blocked = new Watch(0);
    let sentBytes = 0;
    const line = `${JSON.stringify(put("k", 1)).padEnd(64 * 1024)}\n`;
    await opened(600_000, (response) => {
      items(response);
      const send = () => {
        while (sentBytes < 256 * 1024 * 1024) {
          sentBytes += line.length;
          if (!response.write(line)) {
            blocked.update((count) => count + 1);
            return;
          }
        }
      };
      response.on("drain", send);
      send();
    });
    // Each pass fills what the sockets have emptied; the last one is not emptied any more.
    for (let before = -1; before !== sentBytes; ) {
      before = sentBytes;
      await blocked.until((count) => count > 0);
      for (let turn = 0; turn < 1_000; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sentBytes).toBeLessThan(64 * 1024 * 1024);
  });
});

describe("BlixardClient.kv.watch over HTTP", () => {
  it("goes on over a new stream where one broke, and tells nothing twice", async () => {
    const { client } = await node(
      (response) => cut(items(response, put("a", 1), put("b", 2), current)),
      (response) => items(response, put("b", 2), put("c", 3), current, failure("STOPPED")).end(),
      (response) => items(response, put("c", 3), current, put("c", 4)),
    );
    const told: unknown[] = [];
    for await (const change of client.kv.watch()) {
      told.push(change);
      if (change.type === "put" && change.entry.index === 4) break;
    }
    expect(told).toEqual([
      ...[put("a", 1), put("b", 2), current],
      ...[{ type: "delete", key: "a" }, put("c", 3)],
      ...[{ type: "delete", key: "b" }, put("c", 4)],
    ]);
  });
});

describe("BlixardClient.vms.waitForPhase", () => {
  it("asks once, and tells each state on the way", async () => {
    const { client, asked } = await node((response) =>
      items(response, vm("Pending", 1), current, vm("Starting", 2), vm("Running", 3)),
    );
    const seen: string[] = [];
    const onProgress = ({ phase }: { readonly phase: string }) => void seen.push(phase);
    expect(await client.vms.waitForPhase("web", ["Running"], { onProgress })).toMatchObject({ phase: "Running" });
    expect(seen).toEqual(["Pending", "Starting", "Running"]);
    expect(asked).toEqual(["GET /v1/vms?watch=true&name=web"]);
  });

  it("goes on where the stream broke", async () => {
    const { client } = await node(
      (response) => cut(items(response, vm("Pending", 1), current)),
      (response) => items(response, vm("Running", 3), current),
    );
    expect(await client.vms.waitForPhase("web", ["Running"])).toMatchObject({ updatedIndex: 3 });
  });

  it("says at the end of its time how the VM is, and that it is not there or has failed", async () => {
    const { server } = await node((response) => items(response, vm("Starting", 1), current));
    // Only the timer of the wait itself runs off, not those that bound what a node does.
    const setTimer = (delayMs: number, run: () => void) =>
      delayMs > 1_000 ? { cancel: () => {} } : systemClock.setTimer(delayMs, run);
    const clock = { ...systemClock, setTimer };
    await using client = connectClient({ addresses: [`http://${server.address}`], clock });
    const wait = client.vms.waitForPhase("web", ["Running"], { timeoutMs: 100 });
    await expect(wait).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: 'VM "web" is not Running after 100 ms: it is Starting (because)',
    });
    const failed = await node((response) => items(response, vm("Failed", 1), current));
    await expect(failed.client.vms.waitForPhase("web", ["Running"])).rejects.toMatchObject({
      code: "VM_DRIVER_FAILED",
    });
    const none = await node(
      (response) => items(response, current),
      (response) => json(response, 404, failure("VM_NOT_FOUND")),
    );
    await expect(none.client.vms.waitForPhase("web", ["Running"])).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
    expect(none.asked).toEqual(["GET /v1/vms?watch=true&name=web", "GET /v1/vms/web"]);
    const over = AbortSignal.abort(new BlixardError("CANCELLED", "left"));
    const left = client.vms.waitForPhase("web", ["Running"], { signal: over });
    await expect(left).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

describe("BlixardClient.vms.openConsole over HTTP", () => {
  const piece = (offset: number, text: string) => ({ offset, data: btoa(text) });

  it("gives the input in order, says when all of it was given, and goes on with the output", async () => {
    const posted: string[] = [];
    let output: ServerResponse | undefined;
    const { client } = await node((response, request) => {
      if (request.method === "GET") {
        output = items(response, piece(0, "up"));
        return;
      }
      request.once("data", (data) => posted.push(String(data)));
      request.once("end", () => json(response, 200, {}));
    });
    const input = given([fromUtf8("a"), fromUtf8("b")]);
    const told: string[] = [];
    for await (const { data, inputEnded, offset } of await client.vms.openConsole(
      { name: "web", offset: 0 },
      { input },
    )) {
      told.push(inputEnded ? "input ended" : `${offset} ${toUtf8(data)}`);
      if (inputEnded) output?.write(`${JSON.stringify(piece(2, "ab"))}\n`);
      if (told.length === 3) break;
    }
    expect(posted).toEqual(["a", "b"]);
    expect(told.toSorted()).toEqual(["0 up", "2 ab", "input ended"]);
    expect(told.indexOf("input ended")).toBeLessThan(told.indexOf("2 ab"));
  });

  it("says once that all input was given, however closely output comes with the end of it", async () => {
    // The output is taken some turns of the queue of tasks after it has come; the input may end within any of them.
    for (let turns = 0; turns < 24; turns++) {
      const ends = new AbortController();
      async function* output() {
        yield { offset: 0, data: fromUtf8("up") };
        await new Promise((resolve) => ends.signal.addEventListener("abort", resolve));
      }
      const endAfterTurns = async (): Promise<IteratorResult<Uint8Array>> => {
        for (let turn = 0; turn < turns; turn++) await undefined;
        return { done: true, value: undefined };
      };
      const input = { [Symbol.asyncIterator]: () => ({ next: endAfterTurns }) };
      const deps = { open: async () => output(), write: async () => {} };
      const call = { timeoutMs: 1_000, input };
      const told: string[] = [];
      const all = await openHttpConsole(deps, { name: "web", offset: 0 }, call);
      for await (const { inputEnded } of all) {
        told.push(inputEnded ? "input ended" : "output");
        if (told.length === 2) break;
        if (told.length === 1) setImmediate(() => ends.abort());
      }
      expect([turns, told.toSorted()]).toEqual([turns, ["input ended", "output"]]);
    }
  });

  it("ends when the VM takes no input", async () => {
    const { client } = await node((response, request) => {
      if (request.method === "GET") items(response);
      else json(response, 403, failure("PERMISSION_DENIED"));
    });
    const output = await client.vms.openConsole({ name: "web", offset: 0 }, { input: given([fromUtf8("a")]) });
    await expect(output[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});
