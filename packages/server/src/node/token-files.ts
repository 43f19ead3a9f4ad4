/**
 * The two texts in a data directory that open something: `admin.token`, the token of a voter, which the cluster knows and may
 * revoke, and `local.token`, which shows to whoever may read the directory how this node is, and nothing else.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { OwnTokenStore } from "@blixard/cluster";
import { fileErrorOf, type Random, systemErrorCodeOf } from "@blixard/common";
import { readOwnFile, writeFileDurable } from "@blixard/common/system";
import type { DataDir } from "./data-dir.ts";

const tokenBytes = 32;
const tokenFileBytesMax = 4_096;

export function adminTokenFile(dataDir: Pick<DataDir, "path">): OwnTokenStore {
  return tokenFile(join(dataDir.path, "admin.token"));
}

/** The token of the first node, which has to stand there before its cluster does. */
export async function readOrMakeToken(store: OwnTokenStore, random: Random): Promise<string> {
  const present = await store.read();
  if (present !== undefined) return present;
  const token = newToken(random);
  await store.write(token);
  return token;
}

/** The token that shows how this node is. It stays over restarts, for whoever collects metrics. */
export function localToken(dataDir: Pick<DataDir, "path">, random: Random): Promise<string> {
  return readOrMakeToken(tokenFile(join(dataDir.path, "local.token")), random);
}

export const newToken = (random: Random) => Buffer.from(random.bytes(tokenBytes)).toString("base64url");

/** What somebody else may have written or read there is refused, because it would let that person in. */
function tokenFile(path: string): OwnTokenStore {
  return {
    read: async () => {
      try {
        const text = readOwnFile(path, { bytesMax: tokenFileBytesMax }).trim();
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
