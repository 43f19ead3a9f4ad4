/** The conformance suite of the port SnapshotStore. */
import { asLogIndex, asNodeId, asTerm } from "../core/types.ts";
import type { SnapshotMeta, SnapshotStore } from "../ports.ts";
import type { Reopenable, SuiteRunner } from "./suite-runner.ts";

const meta = (index: number): Omit<SnapshotMeta, "sizeBytes"> => ({
  index: asLogIndex(index),
  term: asTerm(3),
  confState: {
    voters: [asNodeId(1), asNodeId(2)],
    votersOutgoing: [asNodeId(2)],
    learners: [asNodeId(9)],
    learnersNext: [],
    autoLeave: true,
  },
});

/** Bytes that differ everywhere, so that a chunk out of place shows. */
const pattern = (from: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => ((from + at) * 2_654_435_761) >>> 24);

async function* chunked(sizeBytes: number, chunkBytes: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < sizeBytes; at += chunkBytes) yield pattern(at, Math.min(chunkBytes, sizeBytes - at));
}

const sizeBytes = 700_001;

export function describeSnapshotStore(
  name: string,
  { describe, it, expect }: SuiteRunner,
  create: () => Promise<Reopenable<SnapshotStore>>,
): void {
  const test = (title: string, run: (data: Reopenable<SnapshotStore>) => Promise<void>) =>
    it(title, async () => {
      const data = await create();
      try {
        await run(data);
      } finally {
        await data.dispose();
      }
    });
  const expectBytes = async (store: SnapshotStore, index: number, offset: number, length: number) => {
    const bytes = await store.read(asLogIndex(index), offset, length);
    const expected = pattern(offset, Math.max(0, Math.min(length, sizeBytes - offset)));
    expect(Buffer.compare(bytes, expected)).toEqual(0);
  };

  describe(`${name} as a SnapshotStore`, () => {
    test("has none at first", async (data) => {
      const store = await data.open();
      expect(await store.latest()).toEqual(undefined);
      await store.close();
    });

    test("keeps a snapshot and reads it at any offset", async (data) => {
      const store = await data.open();
      expect({ ...(await store.save(meta(10), chunked(sizeBytes, 10_007))) }).toEqual({ ...meta(10), sizeBytes });
      await store.close();
      const again = await data.open();
      expect({ ...(await again.latest()) }).toEqual({ ...meta(10), sizeBytes });
      for (const [offset, length] of [
        [0, 1],
        [0, sizeBytes],
        [131_071, 3],
        [262_143, 262_146],
        [sizeBytes - 1, 100],
        [sizeBytes, 100],
      ] as const) {
        await expectBytes(again, 10, offset, length);
      }
      await again.close();
    });

    test("keeps the newest of saves that end together, in whatever order they began", async (data) => {
      for (const order of [
        [20, 10],
        [10, 20],
      ]) {
        const store = await data.open();
        await Promise.allSettled(order.map((index) => store.save(meta(index), chunked(sizeBytes, 50_021))));
        await expectBytes(store, 20, 0, sizeBytes);
        await store.close();
        const again = await data.open();
        expect((await again.latest())?.index).toEqual(20);
        await expectBytes(again, 20, 0, sizeBytes);
        await again.close();
      }
    });

    test("keeps an empty state", async (data) => {
      const store = await data.open();
      await store.save(meta(10), chunked(0, 1));
      expect((await store.latest())?.sizeBytes).toEqual(0);
      expect((await store.read(asLogIndex(10), 0, 100)).length).toEqual(0);
      await store.close();
    });

    test("replaces the older one, which is NOT_FOUND from then on", async (data) => {
      const store = await data.open();
      await store.save(meta(10), chunked(5, 5));
      await store.save(meta(20), chunked(sizeBytes, 100_000));
      await expect(store.read(asLogIndex(10), 0, 5)).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expectBytes(store, 20, 0, sizeBytes);
      await store.close();
    });

    test("refuses an older one with CONFLICT and keeps the newer one", async (data) => {
      const store = await data.open();
      await store.save(meta(20), chunked(sizeBytes, 100_000));
      await expect(store.save(meta(10), chunked(5, 5))).rejects.toMatchObject({ code: "CONFLICT" });
      await expectBytes(store, 20, 0, sizeBytes);
      await store.close();
    });

    test("leaves no trace of a save that failed", async (data) => {
      const store = await data.open();
      await store.save(meta(10), chunked(sizeBytes, 100_000));
      const broken = (async function* () {
        yield* chunked(300_000, 100_000);
        throw Object.assign(new Error("the source broke"), { code: "BROKEN" });
      })();
      await expect(store.save(meta(20), broken)).rejects.toMatchObject({ code: "BROKEN" });
      await store.close();
      const again = await data.open();
      expect((await again.latest())?.index).toEqual(10);
      await expectBytes(again, 10, 0, sizeBytes);
      await again.close();
    });

    test("stops a save when its signal aborts", async (data) => {
      const store = await data.open();
      const caller = new AbortController();
      const endless = (async function* () {
        for (let at = 0; ; at += 1_000) {
          if (at === 5_000) caller.abort();
          yield pattern(at, 1_000);
        }
      })();
      await expect(store.save(meta(20), endless, { signal: caller.signal })).rejects.toMatchObject({
        code: "CANCELLED",
      });
      expect(await store.latest()).toEqual(undefined);
      await store.close();
    });

    test("lets a newer save finish beside a slower one, which then is refused", async (data) => {
      const store = await data.open();
      let go: () => void = () => {};
      const gate = new Promise<void>((resolve) => {
        go = resolve;
      });
      const slow = (async function* () {
        yield pattern(0, 1_000);
        await gate;
        yield pattern(1_000, 1_000);
      })();
      const older = store.save(meta(10), slow);
      const refused = expect(older).rejects.toMatchObject({ code: "CONFLICT" });
      await store.save(meta(20), chunked(sizeBytes, 100_000));
      go();
      await refused;
      await expectBytes(store, 20, 0, sizeBytes);
      await store.close();
    });
  });
}
