/**
 * Puts an empty database in the place of one that is not whole and whose contents are made of other data: the state of
 * snapshot and log, a snapshot of the state. The files that were found are kept aside.
 *
 *     state/, state.new/ being written -> state.damaged/, state.new/ whole -> state.damaged/, state/
 *
 * A crash in between leaves no `state/`, which is not whole either.
 */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCodeOf } from "@blixard/common";
import { sealRecord } from "../records/record.ts";
import { markerKey } from "./keys.ts";
import { LevelHandle } from "./level-handle.ts";
import { syncDirectory } from "./marker.ts";

export async function remakePart(dataDir: string, part: "snapshots" | "state", storeId: string): Promise<void> {
  const place = join(dataDir, part);
  const [fresh, damaged] = [`${place}.new`, `${place}.damaged`];
  await rm(fresh, { recursive: true, force: true });
  const handle = await LevelHandle.open({ location: fresh, createIfMissing: true });
  try {
    const value = sealRecord(markerKey, Buffer.from(storeId, "latin1"));
    await handle.write([{ type: "put", key: markerKey, value }], { sync: true });
  } finally {
    await handle.close();
  }
  await syncDirectory(fresh);
  await rm(damaged, { recursive: true, force: true });
  await rename(place, damaged).catch((error: unknown) => {
    if (systemErrorCodeOf(error) !== "ENOENT") throw error;
  });
  await rename(fresh, place);
  await syncDirectory(dataDir);
}
