import { discardMetrics } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { decodeRpcFrame, encodeRpcBatch, encodeRpcFrame, type RpcFrame, rpcFramesIn } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { encodeFrame, FrameReader } from "../frames/frame.ts";
import { TransportMetrics } from "../metrics.ts";
import { CountingMetrics } from "../testing/counting-metrics.ts";
import { transportLimits } from "../transport-limits.ts";
import type { ByteStream, Connection } from "../transport-types.ts";
import { RpcConnection } from "./rpc-connection.ts";

const options = { frameBytesMax: transportLimits.frameBytesMax, compress: false };

/** The other side of a connection, as a release of before: it reads what is written, and says what the test says. */
class OtherSide implements Connection {
  readonly lane = "blixard/rpc/1";
  readonly remoteEndpointId = "";
  readonly closed = new Promise<string>(() => {});
  /** The frames of each payload that was written. */
  readonly payloads: RpcFrame[][] = [];
  #say: (bytes: Uint8Array) => void = () => {};
  #accepted = false;

  async openStream(): Promise<ByteStream> {
    const reader = new FrameReader(options);
    return {
      write: async (bytes) => {
        for (const { payload } of reader.push(bytes)) this.payloads.push(rpcFramesIn(payload).map(decodeRpcFrame));
      },
      read: () => new Promise(() => {}),
      finish: async () => {},
    };
  }

  async acceptStream(): Promise<ByteStream | undefined> {
    if (this.#accepted) return new Promise(() => {});
    this.#accepted = true;
    const read = () =>
      new Promise<Uint8Array>((resolve) => {
        this.#say = resolve;
      });
    return { read, write: async () => {}, finish: async () => {} };
  }

  async says(payload: Uint8Array): Promise<void> {
    this.#say(encodeFrame({ streamClass: "urgent", hello: false, payload }, options));
    await turn();
  }

  close(): void {}

  path() {
    return { kind: "none" as const, rttMs: null };
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function fixture(metrics = new TransportMetrics(discardMetrics)) {
  const other = new OtherSide();
  const connection = new RpcConnection(
    other,
    {
      clock: systemClock,
      metrics,
      serve: async ({ payload }) => payload,
      serveStream: () => Promise.reject(new Error("no streams")),
      isKnown: () => true,
      pace: () => undefined,
      onCalls: () => {},
      onEnd: () => {},
    },
    { ...options, heartbeatMs: 60_000, idleCloseMs: 60_000 },
  );
  await turn();
  const call = (number: number) => {
    connection.call("some", new Uint8Array([number]), 60_000).catch(() => {});
  };
  const shapes = () => other.payloads.splice(0).map((frames) => frames.map(({ type }) => type));
  return { other, connection, call, shapes };
}

describe("frames of one payload", () => {
  it("are one each to a side that has not said that it takes more, which hears first what this side takes", async () => {
    const { other, connection, call, shapes } = await fixture();
    for (const number of [1, 2]) call(number);
    await turn();
    expect(other.payloads[0]).toEqual([{ type: "pong", id: 3 }]);
    expect(shapes()).toEqual([["pong"], ["request"], ["request"]]);
    // A pong that answers a ping of this side says nothing.
    await other.says(encodeRpcFrame({ type: "pong", id: 0 }));
    for (const number of [3, 4]) call(number);
    await turn();
    expect(shapes()).toEqual([["request"], ["request"]]);
    connection.close("done");
  });

  it("are as many as wait and are small, to a side that has", async () => {
    const { other, connection, call, shapes } = await fixture();
    await other.says(encodeRpcFrame({ type: "pong", id: 2 }));
    for (const number of [1, 2, 3]) call(number);
    await turn();
    expect(shapes()).toEqual([["pong", "request", "request", "request"]]);
    const large = new Uint8Array(transportLimits.rpcPayloadUrgentBytesMax - 100);
    for (const payload of [large, large]) connection.call("some", payload, 60_000).catch(() => {});
    await turn();
    expect(shapes()).toEqual([["request"], ["request"]]);
    connection.close("done");
  });

  it("are all read, but those that a later release has added", async () => {
    const metrics = new CountingMetrics();
    const { other, connection, shapes } = await fixture(new TransportMetrics(metrics));
    const request = (id: number) =>
      encodeRpcFrame({ type: "request", id, method: "some", timeoutMs: 1_000, payload: new Uint8Array([id]) });
    await other.says(encodeRpcBatch([request(1), Uint8Array.of(0xff, 1), request(2)]));
    await turn();
    expect(shapes()).toEqual([["pong"], ["response"], ["response"]]);
    expect(connection.ended).toBe(false);
    connection.close("done");
  });
});
