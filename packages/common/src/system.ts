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
      setTicker: (intervalMs, run) => {
        const handle = setInterval(run, intervalMs).unref();
        return () => handle.refresh();
      },
    });
    return runnable.nowMs();
  },
  unixMs,
  setTimer(delayMs, run) {
    const handle = setTimeout(() => {
      runnable?.ran();
      run();
    }, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Random bytes that were fetched ahead: asking the system for the few bytes of one id costs more than for many. */
const poolBytes = 4_096;
const pooledBytesMax = 64;
let pool: Buffer = Buffer.alloc(0);
let poolAt = 0;

export const systemRandom: Random = {
  next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  bytes: (length) => {
    if (length > pooledBytesMax) return new Uint8Array(randomBytes(length));
    if (poolAt + length > pool.length) {
      pool = randomBytes(poolBytes);
      poolAt = 0;
    }
    const taken = new Uint8Array(pool.subarray(poolAt, poolAt + length));
    // What was given out may be a secret, and is nowhere else from then on.
    pool.fill(0, poolAt, poolAt + length);
    poolAt += length;
    return taken;
  },
};
