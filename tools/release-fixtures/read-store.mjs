// Reads log and snapshot of a data directory with the storage package of the release that wrote it, and decodes the
// commands with its codec. Opening a store changes it, so this works on a copy.
import { cpSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const pieceBytes = 64 * 1_024;

export async function readStore(checkout, dataDir) {
  const require = createRequire(resolve(checkout, "package.json"));
  const load = (name) => import(pathToFileURL(require.resolve(name)).href);
  const { openLevelStorage } = await load("@blixard/storage/level");
  const { decodeCommand } = await load("@blixard/protocol");
  const copy = `${dataDir}.read`;
  cpSync(dataDir, copy, { recursive: true });
  try {
    const storage = await openLevelStorage({ dataDir: copy });
    try {
      const { base, entries } = await storage.log.load();
      const snapshot = await storage.snapshots.latest();
      const pieces = [];
      for (let offset = 0; offset < (snapshot?.sizeBytes ?? 0); offset += pieceBytes) {
        pieces.push(await storage.snapshots.read(snapshot.index, offset, pieceBytes));
      }
      return {
        base,
        entries: entries.map((entry) => describeEntry(entry, decodeCommand)),
        snapshot: snapshot && { meta: snapshot, bytes: Buffer.concat(pieces) },
      };
    } finally {
      await storage.close();
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function describeEntry(entry, decodeCommand) {
  const { index, term, kind } = entry;
  if (kind !== "normal") return { index, term, kind, change: entry.change };
  const data = Buffer.from(entry.data).toString("hex");
  return data === "" ? { index, term, kind, data } : { index, term, kind, data, command: decodeCommand(entry.data) };
}
