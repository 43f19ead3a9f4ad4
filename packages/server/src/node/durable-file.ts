/** Small files that are either there whole or not at all, also after a power cut. */
import { open, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** Writes beside, syncs, and renames; readable by this user only. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const draft = `${path}.tmp`;
  await writeFile(draft, text, { mode: 0o600, flush: true });
  await rename(draft, path);
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
