/**
 * Gathers small chunks, and lets the event loop run in between. A state machine may hand out its state record by record
 * to a store that never waits; without a pause a hundred thousand records would then run in one turn.
 */
import { type Clock, concatBytes, sleep } from "@blixard/common";

/** Milliseconds of work without a break. */
const sliceMs = 3;

export async function* pacedChunks(
  source: AsyncIterable<Uint8Array>,
  clock: Clock,
  chunkBytes: number,
): AsyncIterable<Uint8Array> {
  let gathered: Uint8Array[] = [];
  let bytes = 0;
  let sliceStartMs = clock.monotonicMs();
  for await (const chunk of source) {
    gathered.push(chunk);
    bytes += chunk.length;
    if (bytes >= chunkBytes) {
      yield concatBytes(gathered);
      gathered = [];
      bytes = 0;
    }
    if (clock.monotonicMs() - sliceStartMs < sliceMs) continue;
    await sleep(clock, 0);
    sliceStartMs = clock.monotonicMs();
  }
  if (bytes > 0) yield concatBytes(gathered);
}
