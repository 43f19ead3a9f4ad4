/**
 * What every TransportAdapter must do, as tests that any runner with describe, it and expect can run. Each test makes
 * adapters of its own and waits for what happens, never for time.
 */
import { concatBytes, errorCodeOf } from "@blixard/common";
import type { ByteStream, Connection, EndpointAddress, TransportAdapter } from "../transport-types.ts";

/** The part of a test runner that the suite uses; that of jest and vitest fits. */
export interface TestApi {
  readonly describe: (name: string, run: () => void) => void;
  readonly it: (name: string, run: () => Promise<void>) => void;
  readonly expect: (actual: unknown) => {
    toBe(expected: unknown): void;
    toEqual(expected: unknown): void;
  };
}

/** Makes adapters that can reach each other. */
export interface AdapterFactory {
  /** A new endpoint with the identity that belongs to `number`; not yet listening. */
  create(number: number): Promise<TransportAdapter>;
  /** An address at which nobody listens. */
  deadAddress(): string;
}

const lane = "blixard/rpc/1";

export function describeTransportAdapter(api: TestApi, name: string, factory: AdapterFactory): void {
  const { describe, it, expect } = api;
  const test = (title: string, run: (pair: Pair) => Promise<void>) => it(title, () => withPair(factory, run));

  describe(`${name} as a TransportAdapter`, () => {
    test("proves who is at each end", async ({ dialler, listener, connect }) => {
      const [here, there] = await connect();
      expect(here.remoteEndpointId).toBe(listener.endpointId);
      expect(there.remoteEndpointId).toBe(dialler.endpointId);
      expect([here.lane, there.lane]).toEqual([lane, lane]);
      expect(here.path().kind).toBe("direct");
    });

    test("carries bytes both ways, in order, until the stream is finished", async ({ connect }) => {
      const [here, there] = await connect();
      const stream = await here.openStream();
      for (const byte of [1, 2, 3]) await stream.write(Uint8Array.of(byte));
      const far = await accepted(there);
      expect([...(await readExactly(far, 3))]).toEqual([1, 2, 3]);
      await far.write(Uint8Array.of(9));
      expect([...(await readExactly(stream, 1))]).toEqual([9]);
      await stream.finish();
      expect(await far.read(10)).toBe(undefined);
    });

    test("never reads more than was asked for, and lets the written array be reused", async ({ connect }) => {
      const [here, there] = await connect();
      const stream = await here.openStream();
      const length = 300_000;
      const bytes = Uint8Array.from({ length }, (_, at) => at % 251);
      const far = accepted(there);
      const writing = stream.write(bytes).then(() => bytes.fill(0));
      const pieces: Uint8Array[] = [];
      for (let left = length; left > 0; left -= pieces.at(-1)?.length ?? 0) {
        const piece = await (await far).read(1000);
        if (piece === undefined || piece.length > 1000 || piece.length === 0) throw new Error("a read broke its limit");
        pieces.push(piece);
      }
      await writing;
      expect(concatBytes(pieces).every((byte, at) => byte === at % 251)).toBe(true);
    });

    test("keeps streams apart: one that nobody reads does not hold up another", async ({ connect }) => {
      const [here, there] = await connect();
      const first = await here.openStream({ priority: 1 });
      const second = await here.openStream({ priority: 2 });
      await first.write(new Uint8Array(100_000));
      await accepted(there);
      await second.write(Uint8Array.of(7));
      expect([...(await readExactly(await accepted(there), 1))]).toEqual([7]);
    });

    test("ends everything at both ends when one closes", async ({ connect }) => {
      const [here, there] = await connect();
      const stream = await here.openStream();
      await stream.write(Uint8Array.of(1));
      const far = await accepted(there);
      await readExactly(far, 1);
      const pending = [failureOf(stream.read(1)), failureOf(far.read(1))];
      const accepting = there.acceptStream();
      here.close("enough");
      await Promise.all([here.closed, there.closed]);
      expect(await Promise.all(pending)).toEqual(["UNREACHABLE", "UNREACHABLE"]);
      expect(await accepting).toBe(undefined);
      expect(await failureOf(stream.write(Uint8Array.of(2)))).toBe("UNREACHABLE");
      expect(await failureOf(here.openStream())).toBe("UNREACHABLE");
      expect(here.path().kind).toBe("none");
    });

    test("ends all connections when the adapter closes", async ({ listener, connect }) => {
      const [here] = await connect();
      await listener.close();
      await here.closed;
      expect(await failureOf(listener.connect(addressOf(listener), lane, { signal: never() }))).toBe("STOPPED");
    });

    test("refuses another identity than the one that was asked for", async ({ dialler, listener }) => {
      const stranger = { endpointId: dialler.endpointId, addresses: listener.addresses() };
      const third = await factory.create(3);
      await third.listen(() => {});
      expect(await failureOf(third.connect(stranger, lane, { signal: never() }))).toBe("UNKNOWN_PEER");
      await third.close();
    });

    test("stops waiting for nobody when the signal aborts", async ({ dialler, listener }) => {
      const nobody = { endpointId: listener.endpointId, addresses: [factory.deadAddress()] };
      const controller = new AbortController();
      const dial = failureOf(dialler.connect(nobody, lane, { signal: controller.signal }));
      controller.abort();
      expect((await dial) !== undefined).toBe(true);
    });
  });
}

interface Pair {
  readonly dialler: TransportAdapter;
  readonly listener: TransportAdapter;
  /** A new connection: the dialler's half and the listener's. */
  readonly connect: () => Promise<readonly [Connection, Connection]>;
}

async function withPair(factory: AdapterFactory, run: (pair: Pair) => Promise<void>): Promise<void> {
  const [dialler, listener] = [await factory.create(1), await factory.create(2)];
  const waiting: ((connection: Connection) => void)[] = [];
  try {
    await dialler.listen((connection) => connection.close("nobody should dial here"));
    await listener.listen((connection) => waiting.shift()?.(connection));
    const connect = async () => {
      const arrived = new Promise<Connection>((resolve) => waiting.push(resolve));
      return [await dialler.connect(addressOf(listener), lane, { signal: never() }), await arrived] as const;
    };
    await run({ dialler, listener, connect });
  } finally {
    await Promise.all([dialler.close(), listener.close()]);
  }
}

function addressOf(adapter: TransportAdapter): EndpointAddress {
  return { endpointId: adapter.endpointId, addresses: adapter.addresses() };
}

function never(): AbortSignal {
  return new AbortController().signal;
}

async function accepted(connection: Connection): Promise<ByteStream> {
  const stream = await connection.acceptStream();
  if (stream === undefined) throw new Error("the connection is closed");
  return stream;
}

async function readExactly(stream: ByteStream, length: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let left = length; left > 0; ) {
    const piece = await stream.read(left);
    if (piece === undefined) throw new Error("the stream ended early");
    pieces.push(piece);
    left -= piece.length;
  }
  return concatBytes(pieces);
}

/** The code that a promise rejects with; undefined when it resolves. */
async function failureOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
  } catch (error) {
    return errorCodeOf(error) ?? "none";
  }
  return undefined;
}
