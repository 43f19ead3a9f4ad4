import { describe, expect, it } from "@jest/globals";
import { asLogIndex, asNodeId, asTerm, type Entry, type HardState, noNode, type Snapshot } from "../core/types.ts";
import type { LogStore, LogWrite } from "../ports.ts";
import { settle, VirtualClock } from "../testing/virtual-clock.ts";
import { type AppendedJobs, type AppendJob, AppendPipeline } from "./append-pipeline.ts";

const hardState = (term: number): HardState => ({ term: asTerm(term), vote: noNode, commit: asLogIndex(0) });
const entry = (index: number, term: number): Entry => ({
  ...{ index: asLogIndex(index), term: asTerm(term), kind: "normal" },
  data: new Uint8Array(1),
});
const job = (term: number, ...indexes: number[]): AppendJob => ({
  entries: indexes.map((index) => entry(index, term)),
  ...{ hardState: hardState(term), snapshot: undefined, responses: [] },
});
const placesOf = ({ entries }: Pick<LogWrite, "entries">) => entries.map(({ index, term }) => `${index}/${term}`);

/** A pipeline over a log whose writes end when the test says so. */
function heldPipeline() {
  const writes: { readonly places: readonly string[]; readonly term: number | undefined; end(error?: Error): void }[] =
    [];
  const log = {
    append: (write: LogWrite) =>
      new Promise<void>((resolve, reject) => {
        const end = (error?: Error) => (error === undefined ? resolve() : reject(error));
        writes.push({ places: placesOf(write), term: write.hardState?.term, end });
      }),
  } as LogStore;
  const done: AppendedJobs[] = [];
  const errors: unknown[] = [];
  const installed: number[] = [];
  const pipeline = new AppendPipeline(
    {
      ...{ clock: new VirtualClock(), log },
      install: async ({ index }) => {
        installed.push(index);
      },
      onDone: (jobs) => done.push(jobs),
      onError: (error) => errors.push(error),
    },
    hardState(1),
  );
  const give = (...jobs: AppendJob[]) => {
    for (const each of jobs) pipeline.submit(each);
    pipeline.start();
  };
  return { pipeline, writes, done, errors, installed, give };
}

describe("AppendPipeline", () => {
  it("has one write under way, and the next one takes everything that waits", async () => {
    const { writes, done, give, pipeline } = heldPipeline();
    give(job(1, 1));
    give(job(1, 2));
    give(job(1, 3, 4), job(1, 5));
    expect(writes.map(({ places }) => places)).toEqual([["1/1"]]);
    expect(pipeline.isBusy).toBe(true);
    writes[0]?.end();
    await settle();
    expect(done.map(({ jobs, write }) => [jobs.length, write?.entries])).toEqual([[1, 1]]);
    expect(pipeline.isBusy).toBe(false);
    pipeline.start();
    expect(writes[1]?.places).toEqual(["2/1", "3/1", "4/1", "5/1"]);
    writes[1]?.end();
    await settle();
    expect(done.map(({ jobs, write }) => [jobs.length, write?.entries])).toEqual([
      [1, 1],
      [3, 4],
    ]);
  });

  it("writes every term and vote, and what was replaced in a later term too", async () => {
    const { writes, give, pipeline } = heldPipeline();
    give(job(1, 1));
    give(job(1, 2, 3), { ...job(2), hardState: { ...hardState(2), vote: asNodeId(1) } }, job(3, 2), job(3, 3));
    for (let at = 0; at < 4; at++) {
      writes[at]?.end();
      await settle();
      pipeline.start();
    }
    expect(writes.map(({ places, term }) => [places, term])).toEqual([
      [["1/1"], 1],
      [["2/1", "3/1"], 1],
      [[], 2],
      [["2/3", "3/3"], 3],
    ]);
  });

  it("writes no commit index for itself, and keeps its jobs in order", async () => {
    const { writes, done, give } = heldPipeline();
    give({ ...job(1), hardState: { ...hardState(1), commit: asLogIndex(1) } });
    await settle();
    expect(writes).toHaveLength(0);
    expect(done.map(({ write }) => write)).toEqual([undefined]);
  });

  it("installs a snapshot behind all earlier writes and before all later ones", async () => {
    const { writes, done, installed, give, pipeline } = heldPipeline();
    const snapshot = { index: asLogIndex(9), term: asTerm(1) } as Snapshot;
    give(job(1, 1));
    give(job(1, 2), { ...job(1), snapshot }, job(1, 10));
    writes[0]?.end();
    await settle();
    pipeline.start();
    expect([writes[1]?.places, installed]).toEqual([["2/1"], []]);
    writes[1]?.end();
    await settle();
    pipeline.start();
    await settle();
    expect([writes.length, installed]).toEqual([2, [9]]);
    pipeline.start();
    expect(writes[2]?.places).toEqual(["10/1"]);
    writes[2]?.end();
    await pipeline.idle();
    expect(done.map(({ jobs }) => jobs.length)).toEqual([1, 1, 1, 1]);
  });

  it("writes nothing any more after a write that failed", async () => {
    const { writes, done, errors, give, pipeline } = heldPipeline();
    give(job(1, 1));
    give(job(1, 2));
    writes[0]?.end(new Error("no space left"));
    await pipeline.idle();
    give(job(1, 3));
    await pipeline.idle();
    expect([writes.length, done.length, errors.length]).toEqual([1, 0, 1]);
  });
});
