/**
 * Puts a database with everything that a damaged one still holds in its place. The damaged files are kept aside.
 *
 *     log/ damaged, log.salvaged/ being written -> log.damaged/, log.salvaged/ whole -> log.damaged/, log/
 */
import { rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { LevelHandle, type LevelOp } from "./level-handle.ts";
import { syncDirectory } from "./marker.ts";
import type { SalvagedLog } from "./salvage-log.ts";

const opsPerBatchMax = 256;

const placesIn = (dataDir: string) => ({
  log: join(dataDir, "log"),
  salvaged: join(dataDir, "log.salvaged"),
  damaged: join(dataDir, "log.damaged"),
});

export async function replaceLog(dataDir: string, { records }: SalvagedLog): Promise<void> {
  const { log, salvaged, damaged } = placesIn(dataDir);
  await rm(salvaged, { recursive: true, force: true });
  const handle = await LevelHandle.open({ location: salvaged, createIfMissing: true });
  try {
    for (let at = 0; at < records.length; at += opsPerBatchMax) {
      const ops = records.slice(at, at + opsPerBatchMax).map(([key, value]): LevelOp => ({ type: "put", key, value }));
      await handle.write(ops, { sync: true });
    }
  } finally {
    await handle.close();
  }
  await syncDirectory(salvaged);
  await rm(damaged, { recursive: true, force: true });
  await rename(log, damaged);
  await rename(salvaged, log);
  await syncDirectory(dataDir);
}

/** Goes on where a crash interrupted {@link replaceLog}: without `log/`, what was salvaged is whole. */
export async function finishReplacement(dataDir: string): Promise<void> {
  const { log, salvaged } = placesIn(dataDir);
  if ((await exists(log)) || !(await exists(salvaged))) return;
  await rename(salvaged, log);
  await syncDirectory(dataDir);
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
