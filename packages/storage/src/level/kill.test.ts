import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { seededRandom } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { openLevelStorage } from "./open-level-storage.ts";

const rounds = 4;
const child = join(import.meta.dirname, "kill-child.mjs");

interface Acknowledged {
  readonly term: number;
  readonly index: number;
}

/** Lets a child write until it has acknowledged `lines` things, then kills it with SIGKILL. */
async function writeUntilKilled(dataDir: string, lines: number): Promise<Acknowledged> {
  const running = spawn(process.execPath, ["--conditions=@blixard/source", child, dataDir], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  running.stderr.on("data", (text: Buffer) => {
    errors += text.toString();
  });
  const closed = once(running, "close");
  let term = 0;
  let index = 0;
  let seen = 0;
  for await (const line of createInterface({ input: running.stdout })) {
    const [what, number] = line.split(" ");
    if (what === "term") term = Number(number);
    else index = Number(number);
    seen++;
    if (seen === lines) running.kill("SIGKILL");
  }
  await closed;
  if (seen < lines) throw new Error(`the child ended early: ${errors}`);
  return { term, index };
}

describe("a process that is killed with SIGKILL", () => {
  it("has every acknowledged entry, its term and its vote when it starts again", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "blixard-kill-"));
    const random = seededRandom(7);
    for (let round = 0; round < rounds; round++) {
      const { term, index } = await writeUntilKilled(dataDir, 1 + Math.floor(random.next() * 3_000));
      const storage = await openLevelStorage({ dataDir });
      const { base, entries, hardState } = await storage.log.load();
      const { applied } = await storage.state.load();
      expect(base.index + entries.length).toBeGreaterThanOrEqual(index);
      expect(hardState).toMatchObject({ term, vote: 1 });
      expect(applied.index).toBeGreaterThanOrEqual(base.index);
      expect(applied.index).toBeLessThanOrEqual(base.index + entries.length);
      await storage.close();
    }
    await rm(dataDir, { recursive: true });
  });
});
