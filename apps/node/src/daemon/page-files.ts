/** The files of the page that a node serves, as the package `@blixard/dashboard` holds them. */
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BlixardError, type Logger, messageOf } from "@blixard/common";

/** They are kept in memory: a page that is larger than this was not built for it. */
const pageBytesMax = 2 * 1024 * 1024;

/** Undefined where the page cannot be read: the node does its work without. */
export async function readPageFiles(logger: Logger): Promise<ReadonlyMap<string, Uint8Array<ArrayBuffer>> | undefined> {
  try {
    const root = join(dirname(fileURLToPath(import.meta.resolve("@blixard/dashboard/package.json"))), "dist/bundle");
    const assets = await readdir(join(root, "assets"));
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    let bytes = 0;
    for (const path of ["index.html", ...assets.map((name) => `assets/${name}`)]) {
      const content = new Uint8Array(await readFile(join(root, path)));
      bytes += content.length;
      if (bytes > pageBytesMax) throw new BlixardError("VALUE_TOO_LARGE", `it has more than ${pageBytesMax} bytes`);
      files.set(path, content);
    }
    return files;
  } catch (error) {
    logger.log("warn", "the page cannot be read; this node serves none", { error: messageOf(error) });
    return undefined;
  }
}
