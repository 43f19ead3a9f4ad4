/** What a real process has: time, randomness and durable files. Import it in applications and adapters only. */
import { randomBytes } from "node:crypto";
import { uptime } from "node:os";
import { performance } from "node:perf_hooks";
import type { Clock } from "./clock.ts";
import { ElapsedTime } from "./elapsed-time.ts";
import type { Random } from "./random.ts";
import { RunnableTime } from "./runnable-time.ts";

export { removeDurable, renameDurable, writeFileDurable } from "./durable-file.ts";
export { readNamedFile, readNamedFileNow } from "./named-file.ts";
export type { FileFault, OwnFileOptions } from "./own-file.ts";
export {
  assertOwnDirectory,
  fileFaultOf,
  makePrivateDirectory,
  narrowDirectory,
  readOwnFile,
  refuseEntry,
  writeOwnFile,
} from "./own-file.ts";

const monotonicMs = () => performance.now();
const unixMs = () => Date.now();

const elapsed = new ElapsedTime({ monotonicMs, unixMs, bootMs: () => uptime() * 1_000 });
/** Made when it is first asked for: a command line that ends at once needs no ticks. */
let runnable: RunnableTime | undefined;

export const systemClock: Clock = {
  monotonicMs,
  elapsedMs: () => elapsed.nowMs(),
  runnableMs: () => {
    // Its ticks keep no process alive.
    runnable ??= new RunnableTime({
      monotonicMs,
      setTimer: (delayMs, run) => {
        const handle = setTimeout(run, delayMs).unref();
        return { cancel: () => clearTimeout(handle) };
      },
    });
    return runnable.nowMs();
  },
  unixMs,
  setTimer(delayMs, run) {
    const handle = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

export const systemRandom: Random = {
  next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  bytes: (length) => new Uint8Array(randomBytes(length)),
};
