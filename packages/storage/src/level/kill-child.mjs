// The child process of kill.test.ts: appends to the log and writes state until it is killed, and prints each index
// when the append of it was acknowledged. Argument: the data directory. It runs from the TypeScript sources.
import { writeSync } from "node:fs";
import "./faults/typescript-loader.mjs";

/** The pipe may be full while the parent is slow. */
function say(line) {
  for (;;) {
    try {
      writeSync(1, `${line}\n`);
      return;
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

const { openLevelStorage } = await import("./open-level-storage.ts");

const storage = await openLevelStorage({ dataDir: process.argv[2] });
const { base, entries, hardState } = await storage.log.load();
await storage.state.load();
let index = base.index + entries.length;
const confState = { voters: [1], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
const term = hardState.term + 1;
await storage.log.append({ entries: [], hardState: { term, vote: 1, commit: 0 } });
say(`term ${term}`);
const data = new Uint8Array(200);
for (;;) {
  const calls = [];
  for (let one = 0; one < 8; one++) {
    const mine = ++index;
    const appended = storage.log.append({ entries: [{ term, index: mine, kind: "normal", data }] });
    calls.push(appended.then(() => say(`entry ${mine}`)));
  }
  await Promise.all(calls);
  const change = { table: "kv", key: new Uint8Array([index % 7]), value: data };
  await storage.state.write([change], { index, term, confState });
  if (index % 400 === 0) {
    await storage.state.flush();
    await storage.log.compact({ index: index - 4, term });
  }
}
