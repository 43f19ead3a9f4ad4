/** The end of a comparison: all processes of a side are killed at once, started again, and every acknowledged write is read. */
import { type Acknowledged, countLost, expectedMarks } from "../load/load-plan.ts";
import type { Side } from "../sides/side.ts";

export interface ReadBack {
  readonly side: string;
  readonly acknowledgedKeys: number;
  readonly lost: number;
  /** From the start of the processes until a write through each of them was acknowledged. */
  readonly restartSeconds: number;
}

export async function killAndReadBack(side: Side, rounds: readonly Acknowledged[]): Promise<ReadBack> {
  const nodes = side.endpoints.map((_, node) => node);
  await Promise.all(nodes.map((node) => side.kill(node)));
  const startedMs = performance.now();
  await side.restart(nodes);
  const restartSeconds = (performance.now() - startedMs) / 1_000;
  const expected = expectedMarks(rounds);
  const found = new Map<string, string>();
  for (let after: string | undefined = ""; after !== undefined; ) {
    const page = await side.list("bench/", after);
    for (const [key, value] of page.entries) found.set(key, value);
    after = page.next;
  }
  return { side: side.name, acknowledgedKeys: expected.size, lost: countLost(expected, found), restartSeconds };
}
