import { RecentKeys, Watch } from "@blixard/common";
import type { CommandBody, KvEntry } from "@blixard/protocol";
import { describe, expect, it, jest } from "@jest/globals";
import fc from "fast-check";
import type { ClusterStateMachine } from "../cluster-state-machine.ts";
import { fedMachine } from "../testing/fed-machine.ts";
import { watchKeys } from "./kv-watch.ts";

const put = (key: string, value = "v"): CommandBody => ({ type: "kv.put", key, value });
const drop = (key: string): CommandBody => ({ type: "kv.delete", key });

/** What somebody knows who was told all changes. */
function reader(stateMachine: ClusterStateMachine, prefix: string) {
  const over = new AbortController();
  const changes = watchKeys({ stateMachine }, prefix, over.signal);
  const known = new Map<string, string>();
  const told: string[] = [];
  const read = async () => {
    const { value: change } = await changes.next();
    if (change?.type === "put") known.set(change.entry.key, change.entry.value);
    if (change?.type === "delete") expect(known.delete(change.key)).toBe(true);
    told.push(change?.type === "put" ? `${change.entry.key}=${change.entry.value}` : `${change?.type}`);
  };
  const current = async () => {
    while (told.at(-1) !== "current") await read();
  };
  return { known, told, read, current, over };
}

const present = (kv: ReadonlyMap<string, KvEntry>, prefix: string) =>
  new Map([...kv.values()].filter(({ key }) => key.startsWith(prefix)).map(({ key, value }) => [key, value]));

describe("watchKeys", () => {
  it("looks only at the keys that changed, however many there are", async () => {
    const { stateMachine, apply } = await fedMachine();
    await apply(...Array.from({ length: 500 }, (_, at) => put(`a/${at}`)));
    const watch = reader(stateMachine, "a/");
    await watch.current();
    const { kv } = stateMachine.state;
    const walks = (["keys", "values", "entries", "forEach"] as const).map((walk) => jest.spyOn(kv, walk));
    const looks = jest.spyOn(kv, "get");
    const next = watch.read();
    await apply(put("b/1"), put("a/7", "w"), drop("a/8"));
    await next;
    await watch.read();
    expect(watch.told.slice(-2)).toEqual(["delete", "a/7=w"]);
    for (const walk of walks) expect(walk).not.toHaveBeenCalled();
    expect(looks.mock.calls.length).toBeLessThan(20);
    expect(watch.known.size).toBe(499);
    watch.over.abort();
  });

  it("tells a reader of any pace what becomes of the keys under its prefix, also over a restore", async () => {
    const key = fc.constantFrom("a/1", "a/2", "a/3", "b/1");
    const body = fc.oneof(
      fc.tuple(key, fc.string()).map(([name, value]) => put(name, value)),
      key.map(drop),
    );
    const bodies = fc.array(body, { minLength: 1, maxLength: 4 });
    const step = fc.oneof(
      { weight: 4, arbitrary: bodies },
      { weight: 2, arbitrary: fc.constant("read" as const) },
      { weight: 1, arbitrary: fc.record({ missed: bodies }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { stateMachine, apply, restoreAfter } = await fedMachine();
        const watch = reader(stateMachine, "a/");
        await watch.current();
        const allowed = new Watch(0);
        const reads = new Watch(0);
        const reading = (async () => {
          for (;;) {
            await allowed.until((count) => count > reads.value, { signal: watch.over.signal });
            await watch.read();
            reads.update((count) => count + 1);
          }
        })();
        for (const now of steps) {
          if (now === "read") allowed.update((count) => count + 1);
          else if ("missed" in now) await restoreAfter(...now.missed);
          else await apply(...now);
        }
        await apply(put("a/last"));
        allowed.set(Number.POSITIVE_INFINITY);
        await Promise.race([reading, reads.until(() => watch.known.has("a/last"))]);
        expect(watch.known).toEqual(present(stateMachine.state.kv, "a/"));
        watch.over.abort();
        await expect(reading).rejects.toBeDefined();
      }),
      { numRuns: 60 },
    );
  });
});

describe("RecentKeys", () => {
  it("knows what changed after an index, each key once", () => {
    const keys = new RecentKeys();
    keys.reset(3);
    keys.add(4, ["a", "b"]);
    keys.add(6, ["b"]);
    expect(keys.since(3)).toEqual(new Set(["a", "b"]));
    expect(keys.since(5)).toEqual(new Set(["b"]));
    expect(keys.since(6)).toEqual(new Set());
    expect(keys.since(2)).toBeUndefined();
  });

  it("says so when it does not know all of them any more", () => {
    const keys = new RecentKeys();
    for (let index = 1; index <= 20_000; index++) keys.add(index, [`k${index}`]);
    let [forgotten, known] = [1, 20_000];
    while (known - forgotten > 1) {
      const middle = Math.floor((forgotten + known) / 2);
      if (keys.since(middle) === undefined) forgotten = middle;
      else known = middle;
    }
    expect(keys.since(forgotten)).toBeUndefined();
    expect(keys.since(known)?.size).toBe(20_000 - known);
    expect(20_000 - known).toBeGreaterThan(4_000);
    keys.add(
      20_001,
      Array.from({ length: 30_000 }, (_, at) => `m${at}`),
    );
    expect(keys.since(20_000)).toBeUndefined();
    expect(keys.since(20_001)).toEqual(new Set());
  });
});
