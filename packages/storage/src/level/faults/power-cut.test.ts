/** The rows of the storage design about power cuts: what LevelDB loses, and what this package keeps. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorCodeOf, seededRandom } from "@blixard/common";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Level } from "level";
import { openLevelStorage } from "../open-level-storage.ts";
import { CrashModel, type CrashOptions } from "./crash-image.ts";
import { requireOrSkip } from "./require-or-skip.ts";
import { type DiskEvent, straceIsMissing, traceChild } from "./traced-run.ts";

const crashes: readonly CrashOptions[] = [
  { tails: "dropped", names: "kept" },
  { tails: "dropped", names: "lost" },
  { tails: "torn", names: "kept" },
];
const missing = straceIsMissing();
const test = requireOrSkip(missing);

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-power-"));
});
afterAll(async () => {
  await rm(root, { recursive: true });
});

/** Calls `visit` with an image of every chosen crash, and with what had been said until then. */
async function crashAt(
  dataDir: string,
  events: readonly DiskEvent[],
  chosen: (position: number) => boolean,
  visit: (image: string, said: readonly string[], crash: CrashOptions) => Promise<void>,
): Promise<void> {
  const model = new CrashModel(dataDir);
  const said: string[] = [];
  for (const [position, event] of events.entries()) {
    if (event.type === "said") said.push(event.line);
    model.take(event);
    if (!chosen(position)) continue;
    for (const crash of crashes) {
      const image = join(root, "image");
      await model.write(image, crash);
      await visit(image, said, crash);
      await rm(image, { recursive: true });
    }
  }
}

/** What LevelDB has after a start: the number of its records, or "cannot be opened". */
async function rawRecords(location: string): Promise<number | "cannot be opened"> {
  const db = new Level(location);
  try {
    await db.open({ createIfMissing: true });
    return (await db.keys().all()).length;
  } catch {
    return "cannot be opened";
  } finally {
    await db.close();
  }
}

const lastEntry = (said: readonly string[]) =>
  Number(said.findLast((line) => line.startsWith("entry "))?.slice("entry ".length) ?? 0);

/** What this package has after a start, or the code it refuses with. */
async function stored(dataDir: string) {
  const storage = await openLevelStorage({ dataDir }).catch((error: unknown) => errorCodeOf(error));
  if (typeof storage !== "object") return { refused: storage };
  try {
    const { entries, hardState } = await storage.log.load();
    const { applied, records } = await storage.state.load();
    for await (const batch of records) expect(batch.length).toBeGreaterThan(0);
    return { last: entries.length, term: hardState.term, isNew: storage.isNew, applied: applied.index };
  } finally {
    await storage.close();
  }
}

describe("a power cut", () => {
  test("takes every unsynced put of plain LevelDB, all of them acknowledged", async () => {
    const dataDir = join(root, "raw-unsynced");
    const events = await traceChild("raw-unsynced", dataDir, 200);
    await crashAt(
      dataDir,
      events,
      (position) => position === events.length - 1,
      async (image, said, crash) => {
        expect(lastEntry(said)).toBe(200);
        if (crash.tails === "dropped" && crash.names === "kept") expect(await rawRecords(image)).toBe(0);
      },
    );
  });

  test("takes no acknowledged entry, term or vote of this package, whenever it comes", async () => {
    const dataDir = join(root, "store");
    // Large entries, so that LevelDB changes to a new log file and writes a table on the way.
    const events = await traceChild("store-large", dataDir, 150);
    expect(events.filter((event) => event.type === "create" && /log\/\d+\.log$/.test(event.path)).length).toBe(2);
    const random = seededRandom(11);
    const opened = events.findIndex((event) => event.type === "said" && event.line === "open");
    const chosen = new Set([events.length - 1]);
    for (let n = 0; n < 8; n++) chosen.add(opened + Math.floor(random.next() * (events.length - opened)));
    // The moments around the change of files are the interesting ones.
    for (const [at, event] of events.entries()) {
      if (at > opened && ["rename", "remove"].includes(event.type) && chosen.size < 14) chosen.add(at);
    }
    let visited = 0;
    await crashAt(
      dataDir,
      events,
      (position) => chosen.has(position),
      async (image, said) => {
        visited++;
        const acknowledged = lastEntry(said);
        const found = await stored(image);
        expect(found).toMatchObject({ isNew: false });
        expect(found.last).toBeGreaterThanOrEqual(acknowledged);
        expect(found.term).toBeGreaterThanOrEqual(acknowledged === 0 ? 0 : 1 + Math.floor(acknowledged / 10));
        // The state may come back empty, to be rebuilt from the log, but never older than it was flushed.
        const flushed = Number(said.findLast((line) => line.startsWith("flushed "))?.slice("flushed ".length) ?? 0);
        if (found.applied !== 0) expect(found.applied).toBeGreaterThanOrEqual(flushed);
        expect(found.applied).toBeLessThanOrEqual(found.last ?? 0);
      },
    );
    expect(visited).toBe(chosen.size * crashes.length);
  });

  test("between the first open and the first synced write leaves a plain LevelDB that never opens again", async () => {
    const dataDir = join(root, "raw-open");
    const events = await traceChild("raw-synced", dataDir, 1);
    const outcomes = new Map<string, number>();
    await crashAt(
      dataDir,
      events,
      () => true,
      async (image) => {
        const outcome = (await rawRecords(image)) === "cannot be opened" ? "cannot be opened" : "opens";
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      },
    );
    expect([...outcomes.keys()].sort()).toEqual(["cannot be opened", "opens"]);
  });

  test("in the first open of this package leaves a directory that opens: as new, until it said that it exists", async () => {
    const dataDir = join(root, "store-open");
    const events = await traceChild("store", dataDir, 1);
    const opened = events.findIndex((event) => event.type === "said" && event.line === "open");
    expect(opened).toBeGreaterThan(20);
    const unexpected: unknown[] = [];
    await crashAt(
      dataDir,
      events,
      (position) => position <= opened && events[position]?.type !== "syncBegins",
      async (image, said, crash) => {
        const found = await stored(image);
        const whole = said.includes("open") ? found.isNew === false : found.refused === undefined;
        if (!whole || (found.last ?? 0) < lastEntry(said)) unexpected.push({ said, crash, found });
      },
    );
    expect(unexpected).toEqual([]);
  });
});

describe("the tests of power cuts", () => {
  it("can run where CI runs", () => {
    if (process.env["CI"] === "true") expect(missing).toBeUndefined();
  });
});
