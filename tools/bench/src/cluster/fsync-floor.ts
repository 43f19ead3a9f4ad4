import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";

/** The floor of one durable write on this disk: appends of 4 KiB with fdatasync, one after the other, per second. */
export function measureFsyncFloor(durationMs: number): number {
  const directory = mkdtempSync(join(tmpdir(), "blixard-floor-"));
  const file = openSync(join(directory, "floor"), "w");
  const block = new Uint8Array(4096).fill(1);
  try {
    const startedMs = performance.now();
    let writes = 0;
    while (performance.now() - startedMs < durationMs) {
      writeSync(file, block);
      fdatasyncSync(file);
      writes++;
    }
    return (writes * 1000) / (performance.now() - startedMs);
  } finally {
    closeSync(file);
    rmSync(directory, { recursive: true });
  }
}
