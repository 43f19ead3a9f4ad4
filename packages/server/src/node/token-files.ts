/**
 * The two texts in a data directory that open something: `admin.token`, the token of a voter, which the cluster knows and may
 * revoke, and `local.token`, which shows to whoever may read the directory how this node is, and nothing else.
 */
import { lstat, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { OwnTokenStore } from "@blixard/cluster";
import { fileErrorOf, type Random, systemErrorCodeOf } from "@blixard/common";
import { writeFileDurable } from "@blixard/common/system";
import type { DataDir } from "./data-dir.ts";

const tokenBytes = 32;

export function adminTokenFile(dataDir: Pick<DataDir, "path">): OwnTokenStore {
  const path = join(dataDir.path, "admin.token");
  return {
    read: async () => {
      try {
        const text = (await readFile(path, "utf8")).trim();
        return text === "" ? undefined : text;
      } catch (error) {
        if (systemErrorCodeOf(error) === "ENOENT") return undefined;
        throw fileErrorOf(error, path);
      }
    },
    write: (text) => writeFileDurable(path, `${text}\n`),
    remove: () => rm(path, { force: true }),
  };
}

/** The token of the first node, which has to stand there before its cluster does. */
export async function readOrMakeToken(store: OwnTokenStore, random: Random): Promise<string> {
  const present = await store.read();
  if (present !== undefined) return present;
  const token = newToken(random);
  await store.write(token);
  return token;
}

/**
 * The token that shows how this node is. It stays over restarts, for whoever collects metrics; a link, or a file that others
 * may read, is replaced.
 */
export async function localToken(dataDir: Pick<DataDir, "path">, random: Random): Promise<string> {
  const path = join(dataDir.path, "local.token");
  const found = await lstat(path).catch(() => undefined);
  if (found?.isFile() && (found.mode & wideModeBits) === 0) {
    const text = (await readFile(path, "utf8")).trim();
    if (text !== "") return text;
  }
  const token = newToken(random);
  await rm(path, { force: true });
  await writeFile(path, `${token}\n`, { mode: 0o600, flag: "wx" });
  return token;
}

const wideModeBits = 0o077;
export const newToken = (random: Random) => Buffer.from(random.bytes(tokenBytes)).toString("base64url");
