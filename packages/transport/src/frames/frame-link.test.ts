import { discardMetrics, Watch } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { TransportMetrics } from "../metrics.ts";
import { transportLimits } from "../transport-limits.ts";
import type { ByteStream, Connection } from "../transport-types.ts";
import { FrameReader } from "./frame.ts";
import { FrameLink } from "./frame-link.ts";

const options = { frameBytesMax: transportLimits.frameBytesMax, compress: false };

/** A connection that keeps each write until the test lets it end. */
class HeldConnection implements Connection {
  readonly lane = "blixard/rpc/1";
  readonly remoteEndpointId = "";
  readonly closed = new Promise<string>(() => {});
  readonly writes = new Watch<readonly { readonly payloads: readonly number[]; readonly end: () => void }[]>([]);
  readonly turns: (() => void)[] = [];
  readonly afterTurn?: (run: () => void) => void;

  constructor(hasTurns: boolean) {
    if (hasTurns) this.afterTurn = (run) => void this.turns.push(run);
  }

  async openStream(): Promise<ByteStream> {
    const reader = new FrameReader(options);
    return {
      write: (bytes) =>
        new Promise((resolve) => {
          const payloads = [...reader.push(bytes)].map(({ payload }) => payload.length);
          this.writes.update((before) => [...before, { payloads, end: resolve }]);
        }),
      read: () => new Promise(() => {}),
      finish: async () => {},
    };
  }

  acceptStream(): Promise<undefined> {
    return new Promise(() => {});
  }

  close(): void {}

  path() {
    return { kind: "none" as const, rttMs: null };
  }
}

function fixture(hasTurns: boolean) {
  const connection = new HeldConnection(hasTurns);
  const waiting: Uint8Array[] = [];
  const next = () => waiting.shift();
  const handlers = { next, onFrame: () => {}, onEnd: () => {} };
  const link = new FrameLink(connection, options, handlers, new TransportMetrics(discardMetrics));
  const send = (...lengths: number[]) => {
    waiting.push(...lengths.map((length) => new Uint8Array(length)));
    link.wake("normal");
  };
  const written = async (count: number) => {
    const writes = await connection.writes.until(({ length }) => length >= count);
    return writes.map(({ payloads }) => payloads);
  };
  return { connection, send, written };
}

describe("FrameLink", () => {
  it("writes the frames of a turn together, and those that come while it writes behind them", async () => {
    const { connection, send, written } = fixture(false);
    send(1);
    send(2, 3);
    expect(await written(1)).toEqual([[1, 2, 3]]);
    send(4);
    send(5);
    connection.writes.value[0]?.end();
    expect(await written(2)).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
  });

  it("waits for the end of the turn of the event loop where the connection asks for it", async () => {
    const { connection, send, written } = fixture(true);
    send(1);
    await Promise.resolve();
    send(2);
    expect(connection.writes.value).toEqual([]);
    for (const run of connection.turns) run();
    expect(await written(1)).toEqual([[1, 2]]);
  });

  it("takes no more into one write than its limit and one frame", async () => {
    const { connection, send, written } = fixture(false);
    const half = transportLimits.gatherWriteBytesMax / 2;
    send(half, half, 1, 2);
    expect(await written(1)).toEqual([[half, half]]);
    connection.writes.value[0]?.end();
    expect(await written(2)).toEqual([
      [half, half],
      [1, 2],
    ]);
  });
});
