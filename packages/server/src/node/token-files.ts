/**
 * The two texts in a data directory that open something: `admin.token`, the token of a voter, which the cluster knows and may
 * revoke, and `local.token`, which shows to whoever may read the directory how this node is, and nothing else.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
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

/** Makes the token that shows how this node is. */
export async function writeLocalToken(dataDir: Pick<DataDir, "path">, random: Random): Promise<string> {
  const path = localTokenPath(dataDir);
  const token = newToken(random);
  // What was there before may have wider rights, or be a link.
  await rm(path, { force: true });
  await writeFile(path, `${token}\n`, { mode: 0o600, flag: "wx" });
  return token;
}

export async function removeLocalToken(dataDir: Pick<DataDir, "path">): Promise<void> {
  await rm(localTokenPath(dataDir), { force: true });
}

const localTokenPath = ({ path }: Pick<DataDir, "path">) => join(path, "local.token");
export const newToken = (random: Random) => Buffer.from(random.bytes(tokenBytes)).toString("base64url");
