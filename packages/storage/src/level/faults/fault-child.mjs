// The child process of the fault tests. Arguments: what to do, the data directory, how often.
// It prints one line for each thing that was acknowledged or refused, at once and with one write call.
import { writeSync } from "node:fs";
import "./typescript-loader.mjs";
import { Level } from "level";

const [, , work, dataDir, countText] = process.argv;
const count = Number(countText);
const say = (line) => writeSync(1, `${line}\n`);

/** Default options, as a program that trusts LevelDB uses it. */
async function raw(sync) {
  const db = new Level(dataDir);
  await db.open();
  say("open");
  for (let index = 1; index <= count; index++) {
    try {
      await db.put(`key ${index}`, `value ${index} ${"x".repeat(200)}`, { sync });
      say(`entry ${index}`);
    } catch {
      say(`failed ${index}`);
    }
  }
}

async function store(entryBytes) {
  const { openLevelStorage } = await import("../open-level-storage.ts");
  const storage = await openLevelStorage({ dataDir });
  say("open");
  const { base, entries } = await storage.log.load();
  await storage.state.load();
  const first = base.index + entries.length + 1;
  const confState = { voters: [1], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
  const data = new Uint8Array(entryBytes).fill(7);
  for (let index = first; index < first + count; index++) {
    // A new term now and then, so that the second copy of the vote is written too.
    const term = 1 + Math.floor(index / 10);
    const entry = { term, index, kind: "normal", data };
    try {
      await storage.log.append({ entries: [entry], hardState: { term, vote: 1, commit: index - 1 } });
      say(`entry ${index}`);
      await storage.state.write([{ table: "kv", key: new Uint8Array([index % 256]), value: data }], {
        index,
        term,
        confState,
      });
    } catch (error) {
      say(`failed ${index} ${error.code} ${error.outcome}`);
    }
    if (index % 40 === 0) {
      await storage.state.flush().catch(() => {});
      say(`flushed ${index}`);
    }
  }
}

if (work === "raw-unsynced") await raw(false);
else if (work === "raw-synced") await raw(true);
else if (work === "store") await store(200);
else if (work === "store-large") await store(32 * 1024);
// Nothing is closed: what is on the disk is what the calls above put there.
process.reallyExit(0);
