/**
 * The proof that a data directory exists. A power cut between the first open of a LevelDB and its first synced write
 * can leave a directory that never opens again; such a directory may be made anew only when no node ever said that it
 * existed. So the marker is written last, after each database holds a synced record with the same id and every
 * directory was synced.
 */
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { systemErrorCodeOf } from "@blixard/common";
import { readOwnFile, writeFileDurable } from "@blixard/common/system";

export interface Marker {
  readonly formatVersion: 1;
  /** Random, the same in the marker file and in each database. */
  readonly storeId: string;
}

const markerFileName = "STORAGE";

/** What the marker file says: undefined when there is none, "damaged" when it cannot be understood. */
export async function readMarker(dataDir: string): Promise<Marker | "damaged" | undefined> {
  let text: string;
  try {
    text = readOwnFile(join(dataDir, markerFileName), { public: true });
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { formatVersion, storeId } = JSON.parse(text) as Partial<Marker>;
    if (formatVersion === 1 && typeof storeId === "string" && /^[0-9a-f]{32}$/.test(storeId)) {
      return { formatVersion, storeId };
    }
  } catch {
    // Falls through: a marker that does not parse is damaged, not absent.
  }
  return "damaged";
}

/** Writes the marker durably. Call it when everything it vouches for is durable. */
export async function writeMarker(dataDir: string, marker: Marker): Promise<void> {
  const path = join(dataDir, markerFileName);
  await writeFileDurable(path, `${JSON.stringify(marker)}\n`);
  await syncDirectory(dirname(dataDir));
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
