/** What a real process has: time, randomness and durable files. Import it in applications and adapters only. */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { Clock } from "./clock.ts";
import type { Random } from "./random.ts";

export { removeDurable, renameDurable, writeFileDurable } from "./durable-file.ts";

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  unixMs: () => Date.now(),
  setTimer(delayMs, run) {
    const handle = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

export const systemRandom: Random = {
  next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  bytes: (length) => new Uint8Array(randomBytes(length)),
};
