/** Stream calls over every technology: order, half close, errors, cancelling, deadlines, credit, and broken connections. */
import { BlixardError, errorCodeOf, seededRandom } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { encodeRpcFrame, type RpcFrame } from "@blixard/protocol";
import { afterEach, describe, expect, it } from "@jest/globals";
import { encodeFrame } from "../frames/frame.ts";
import { createGrpcAdapter } from "../grpc/index.ts";
import { createIrohAdapter } from "../iroh/index.ts";
import { createMemoryNetwork } from "../memory/index.ts";
import { CountingMetrics } from "../testing/counting-metrics.ts";
import { createFaultyAdapter } from "../testing/index.ts";
import {
  type FixtureNode,
  type FixtureOptions,
  introduce,
  startNode,
  stateOf,
  until,
} from "../testing/transport-fixture.ts";
import { transportLimits } from "../transport-limits.ts";
import type { RpcStreamHandler, TransportAdapter } from "../transport-types.ts";

const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(1) });
const frameOptions = { frameBytesMax: transportLimits.frameBytesMax, compress: false };
const nothing = new Uint8Array();
const patient = { timeoutMs: 60_000 };

describe.each(["memory", "iroh", "grpc"] as const)("stream calls over %s", (technology) => {
  const closing: { close(): Promise<void> }[] = [];
  const adapterOf = (number: number): TransportAdapter => {
    const options = { secretKey: new Uint8Array(32).fill(number), bind: "127.0.0.1:0" };
    if (technology === "iroh") return createIrohAdapter({ ...options, relay: false, discovery: false });
    if (technology === "grpc") return createGrpcAdapter({ ...options, clock: systemClock });
    return network.createAdapter({ endpointId: number.toString(16).padStart(64, "0") });
  };
  const start = async (nodeId: number, options: Partial<FixtureOptions> = {}): Promise<FixtureNode> => {
    const node = await startNode(nodeId, { ...options, adapter: options.adapter ?? adapterOf(30 + nodeId) });
    closing.push(node.transport);
    return node;
  };
  /** Two members, of which the second one serves. */
  const pair = async (streamHandler?: RpcStreamHandler, adapter?: TransportAdapter) => {
    const caller = await start(1, adapter === undefined ? {} : { adapter });
    const serving = await start(2, streamHandler === undefined ? {} : { streamHandler });
    introduce([caller, serving]);
    await until(() => stateOf(caller, 2) === "ready" && stateOf(serving, 1) === "ready");
    return [caller, serving] as const;
  };
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((each) => each.close()));
  });

  it("brings items in order both ways, whatever their size, and the ends of both ways", async () => {
    const [caller] = await pair();
    const sizes = Array.from({ length: 200 }, (_, at) => (at * 7_919) % (at % 20 === 0 ? 100_000 : 300));
    const input = items(sizes.map((size, at) => new Uint8Array(size).fill(at)));
    const output = await caller.transport.stream(2, "echo", nothing, { ...patient, input });
    const got = await all(output);
    expect(got.map(({ length }) => length)).toEqual(sizes);
    expect(got.every((item, at) => item.every((byte) => byte === at))).toBe(true);
  });

  it("answers after the half close with what it has learned by then", async () => {
    const [caller] = await pair(async ({ payload, input }) =>
      items(
        (async function* () {
          let sum = payload[0] ?? 0;
          for await (const item of input) sum += item.length;
          yield Uint8Array.of(sum);
        })(),
      ),
    );
    const input = items([new Uint8Array(3), new Uint8Array(4)]);
    expect(await all(await caller.transport.stream(2, "sum", Uint8Array.of(10), { ...patient, input }))).toEqual([
      Uint8Array.of(17),
    ]);
    expect(await all(await caller.transport.stream(2, "sum", Uint8Array.of(10), patient))).toEqual([Uint8Array.of(10)]);
  });

  it("gives the error of the end after the items before it, and that of a call that was not accepted at once", async () => {
    const failing = new BlixardError("VM_NOT_FOUND", "it went", { hint: "h", details: { offset: 4 } });
    const [caller] = await pair(async ({ method }) => {
      if (method === "refuse") throw failing;
      return items(
        (async function* () {
          yield Uint8Array.of(1);
          yield Uint8Array.of(2);
          throw failing;
        })(),
      );
    });
    const answer = {
      name: "BlixardError",
      code: "VM_NOT_FOUND",
      message: "it went",
      hint: "h",
      details: { offset: 4 },
    };
    await expect(caller.transport.stream(2, "refuse", nothing, patient)).rejects.toMatchObject(answer);
    const got: Uint8Array[] = [];
    const reading = (async () => {
      for await (const item of await caller.transport.stream(2, "fail", nothing, patient)) got.push(item);
    })();
    await expect(reading).rejects.toMatchObject(answer);
    expect(got).toEqual([Uint8Array.of(1), Uint8Array.of(2)]);
  });

  it("is cancelled by the caller's signal, by a reader that stops, and by an input that fails", async () => {
    const reasons: unknown[] = [];
    const [caller] = await pair(async ({ input }, signal) => {
      signal.addEventListener("abort", () => reasons.push(errorCodeOf(signal.reason)));
      return input;
    });
    const controller = new AbortController();
    const endless = () => items(Array.from({ length: 10_000 }, () => new Uint8Array(1_000)));
    const first = await caller.transport.stream(2, "a", nothing, {
      ...patient,
      input: endless(),
      signal: controller.signal,
    });
    const reading = all(first);
    controller.abort();
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
    await until(() => reasons.length === 1);
    for await (const _ of await caller.transport.stream(2, "b", nothing, { ...patient, input: endless() })) break;
    await until(() => reasons.length === 2);
    const broken = (async function* () {
      yield Uint8Array.of(1);
      throw new BlixardError("CONFLICT", "no more");
    })();
    await expect(
      all(await caller.transport.stream(2, "c", nothing, { ...patient, input: broken })),
    ).rejects.toMatchObject({
      code: "CONFLICT",
    });
    await until(() => reasons.length === 3);
    expect(reasons).toEqual(["CANCELLED", "CANCELLED", "CANCELLED"]);
  });

  it("stops the caller's input when the callee ends the call", async () => {
    const [caller] = await pair(async () => items([]));
    let stopped = false;
    const input = (async function* () {
      try {
        for (;;) yield new Uint8Array(1_000);
      } finally {
        stopped = true;
      }
    })();
    expect(await all(await caller.transport.stream(2, "x", nothing, { ...patient, input }))).toEqual([]);
    await until(() => stopped);
  });

  it("has a deadline for its opening, at both ends, and lives longer than that when it was accepted", async () => {
    const reasons: unknown[] = [];
    const [caller] = await pair(async ({ method, input }, signal) => {
      if (method === "echo") return input;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      reasons.push(errorCodeOf(signal.reason));
      throw signal.reason;
    });
    const sender = channel();
    const output = await caller.transport.stream(2, "echo", nothing, { timeoutMs: 500, input: sender.items });
    const slow = caller.transport.stream(2, "never", nothing, { timeoutMs: 500 });
    await expect(slow).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await until(() => reasons.length === 1);
    expect(["DEADLINE_EXCEEDED", "CANCELLED"]).toContain(reasons[0]);
    sender.push(Uint8Array.of(5));
    sender.end();
    expect(await all(output)).toEqual([Uint8Array.of(5)]);
  });

  it("does not let a slow reader hold up other calls or grow memory, and goes on when it reads again", async () => {
    const itemBytes = 16 * 1024;
    let made = 0;
    const [caller] = await pair(async () =>
      items(
        (async function* () {
          for (; made < 400; made++) yield new Uint8Array(itemBytes).fill(made);
        })(),
      ),
    );
    const slow = (await caller.transport.stream(2, "fast", nothing, patient))[Symbol.asyncIterator]();
    const inWindow = Math.floor(transportLimits.rpcStreamWindowBytes / (itemBytes + 64));
    await until(() => made >= inWindow);
    for (let n = 0; n < 20; n++) await caller.transport.call(2, "echo", new Uint8Array(n * 3_000), patient);
    // A window that is full, and one item more that waits for credit.
    expect(made).toBeLessThanOrEqual(inWindow + 1);
    await slow.next();
    let read = 1;
    while ((await slow.next()).done !== true) read++;
    expect(read).toBe(400);
  });

  it("costs a caller that sends more than it may its connection, which is counted", async () => {
    const [node] = await pair();
    const hostile = adapterOf(39);
    await hostile.listen((connection) => connection.close("not today"));
    closing.push(hostile);
    const connection = await hostile.connect(node.peer(), "blixard/rpc/1", { signal: new AbortController().signal });
    const frames: RpcFrame[] = [
      { type: "open", id: 1, method: "echo", timeoutMs: 60_000, creditBytes: 0, payload: nothing },
      ...Array.from(
        { length: 5 },
        () => ({ type: "item", id: 1, by: "caller", payload: new Uint8Array(60_000) }) as const,
      ),
    ];
    const stream = await connection.openStream();
    for (const frame of frames) {
      const payload = encodeRpcFrame(frame);
      await stream.write(encodeFrame({ streamClass: "normal", hello: false, payload }, frameOptions)).catch(() => {});
    }
    await connection.closed;
    expect(node.transport.refusals()).toEqual({ credit_overrun: 1 });
  });

  it("ends with UNREACHABLE when the connection breaks, and the handler is told", async () => {
    const adapter = createFaultyAdapter(adapterOf(31));
    let aborted = false;
    const [caller, serving] = await pair(async ({ input }, signal) => {
      signal.addEventListener("abort", () => {
        aborted = true;
      });
      return input;
    }, adapter);
    const sender = channel();
    const output = await caller.transport.stream(2, "echo", nothing, { ...patient, input: sender.items });
    sender.push(Uint8Array.of(1));
    const iterator = output[Symbol.asyncIterator]();
    expect(await iterator.next()).toEqual({ done: false, value: Uint8Array.of(1) });
    adapter.setBlocked([serving.adapter.endpointId]);
    await expect(iterator.next()).rejects.toMatchObject({ code: "UNREACHABLE", outcome: "unknown" });
    await until(() => aborted);
  });

  it("ends when the caller is removed from the member list", async () => {
    let aborted = false;
    const [caller, serving] = await pair(async ({ input }, signal) => {
      signal.addEventListener("abort", () => {
        aborted = true;
      });
      return input;
    });
    const output = await caller.transport.stream(2, "echo", nothing, { ...patient, input: channel().items });
    serving.transport.setPeers([serving.peer()]);
    await expect(all(output)).rejects.toMatchObject({ code: "UNREACHABLE" });
    await until(() => aborted);
  });

  it("are counted while they are open, on both sides, however they end", async () => {
    const metrics = [new CountingMetrics(), new CountingMetrics()] as const;
    const caller = await start(1, { metrics: metrics[0] });
    const streamHandler: RpcStreamHandler = async ({ method, input }) => {
      if (method === "no") throw new BlixardError("PERMISSION_DENIED", "not you");
      return input;
    };
    const serving = await start(2, { metrics: metrics[1], streamHandler });
    introduce([caller, serving]);
    const openNow = () =>
      metrics.flatMap((each) =>
        ["caller", "callee"].map((side) => each.count(`blixard_transport_open_streams blixard/rpc/1 ${side}`)),
      );
    const areOpen = (count: number) => until(() => openNow().join() === [count, 0, 0, count].join());
    const open = async (method = "echo") => {
      const sender = channel();
      const options = { ...patient, input: sender.items };
      return { sender, output: await caller.transport.stream(2, method, nothing, options) };
    };
    const [finished, cancelled, broken] = [await open(), await open(), await open()];
    await expect(open("no")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await areOpen(3);
    finished.sender.end();
    await all(finished.output);
    await areOpen(2);
    await cancelled.output[Symbol.asyncIterator]().return?.();
    await areOpen(1);
    serving.transport.setPeers([serving.peer()]);
    await expect(all(broken.output)).rejects.toMatchObject({ code: "UNREACHABLE" });
    await areOpen(0);
  });

  it("is held to a number of streams on a connection, and has room again when one ended", async () => {
    const [caller] = await pair();
    const open = async () => {
      const sender = channel();
      return { sender, output: await caller.transport.stream(2, "echo", nothing, { ...patient, input: sender.items }) };
    };
    const opened = await Promise.all(
      Array.from({ length: transportLimits.rpcStreamsServedPerConnectionMax }, () => open()),
    );
    await expect(open()).rejects.toMatchObject({ code: "OVERLOADED", outcome: "not_applied" });
    opened[0]?.sender.end();
    await all(opened[0]?.output ?? items([]));
    await (await open()).output[Symbol.asyncIterator]().return?.();
  });
});

async function all(output: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const got: Uint8Array[] = [];
  for await (const item of output) got.push(item);
  return got;
}

async function* items(given: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* given;
}

/** Items that are pushed by hand. */
function channel() {
  const waiting: Uint8Array[] = [];
  let ended = false;
  let wake = () => {};
  async function* read() {
    while (!ended || waiting.length > 0) {
      const item = waiting.shift();
      if (item !== undefined) yield item;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }
  return {
    items: read(),
    push: (item: Uint8Array) => {
      waiting.push(item);
      wake();
    },
    end: () => {
      ended = true;
      wake();
    },
  };
}
