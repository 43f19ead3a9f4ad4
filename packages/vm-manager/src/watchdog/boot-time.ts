/** The clock that a node and its watchdog share: it goes on while the machine sleeps, and begins when that is started. */
import { readFileSync } from "node:fs";

/** Milliseconds since the machine was started (proc(5), `/proc/uptime`, in hundredths of a second). */
export function bootTimeMs(): number {
  const [seconds = ""] = readFileSync("/proc/uptime", "utf8").split(" ");
  return Math.round(Number(seconds) * 1_000);
}
