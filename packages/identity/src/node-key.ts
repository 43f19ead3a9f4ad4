/** The key file of a node: an Ed25519 seed as 64 hexadecimal digits. It is the node's identity on every transport. */
import { randomBytes } from "node:crypto";
import { link, open, unlink } from "node:fs/promises";
import { BlixardError, fileErrorOf, fromHex, systemErrorCodeOf, toHex } from "@blixard/common";
import { readOwnFile } from "@blixard/common/system";
import { endpointIdOfSeed, seedBytes } from "./ed25519.ts";

export interface NodeKey {
  /** 32 bytes. */
  readonly seed: Uint8Array;
  /** The public key, 64 hexadecimal digits: the same on Iroh and in the TLS certificate. */
  readonly endpointId: string;
}

const keyFileMode = 0o600;
const keyFileBytesMax = 4 * 1024;

/**
 * Reads the key at `path`, or makes one there (mode 0600, durable before it is used) in a directory that exists.
 * @throws KEY_FILE_TOO_OPEN, DATA_DIR_INVALID for a file of somebody else, STORAGE_CORRUPT when the file is not a key, STORAGE_FAILED
 */
export async function loadOrCreateNodeKey(path: string): Promise<NodeKey> {
  try {
    return load(path);
  } catch (error) {
    if (systemErrorCodeOf(error) !== "ENOENT") throw fileErrorOf(error, `the key file ${path}`);
  }
  try {
    await create(path);
  } catch (error) {
    throw fileErrorOf(error, `the key file ${path} cannot be written`);
  }
  return load(path);
}

function load(path: string): NodeKey {
  const text = readOwnFile(path, { bytesMax: keyFileBytesMax, modeCode: "KEY_FILE_TOO_OPEN" });
  const seed = fromHex(text.trim());
  if (seed === undefined || seed.length !== seedBytes) {
    throw new BlixardError("STORAGE_CORRUPT", `the key file ${path} does not hold a key`, {
      hint: "Restore it from a backup. A new key would be a new identity, which the cluster does not know.",
    });
  }
  return { seed, endpointId: endpointIdOfSeed(seed) };
}

/** Writes a whole, durable file beside the final one and links it there, so that no half key is ever found. */
async function create(path: string): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString("hex")}.new`;
  const file = await open(draft, "wx", keyFileMode);
  try {
    await file.writeFile(`${toHex(randomBytes(seedBytes))}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    // Unlike a rename, a link never replaces the key that another process made at the same moment.
    await link(draft, path);
  } catch (error) {
    if (systemErrorCodeOf(error) !== "EEXIST") throw error;
  } finally {
    await unlink(draft);
  }
  await syncDirectory(path);
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path.replace(/[^/\\]*$/, "") || ".", "r").catch(() => undefined);
  await directory?.sync().catch(() => {});
  await directory?.close();
}
