/**
 * Where sockets stand. A unix socket path has at most 107 bytes (unix(7)), and data directories may be deep, so the
 * sockets move to a private directory below the temporary one when the data directory leaves no room.
 */
import { createHash } from "node:crypto";
import { lstat, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { BlixardError } from "@blixard/common";

const socketPathBytesMax = 107;
/** A slash, 12 hexadecimal digits, a dash, a generation of up to 10 digits, and `.c` or `.s`. */
const socketNameBytesMax = 26;

/** A directory for the sockets of `dataDir`, an absolute path: the same one at each call, with mode 0700. */
export async function makeRunDirectory(dataDir: string): Promise<string> {
  const near = join(dataDir, "run");
  if (Buffer.byteLength(near) + socketNameBytesMax <= socketPathBytesMax) {
    await mkdir(near, { recursive: true, mode: 0o700 });
    return near;
  }
  const short = join(await makeUserDirectory(), createHash("sha256").update(dataDir).digest("hex").slice(0, 16));
  await mkdir(short, { recursive: true, mode: 0o700 });
  return short;
}

/** A directory that belongs to this user alone, for sockets and for facts about this boot of the host. */
export async function makeUserDirectory(): Promise<string> {
  const userId = process.getuid?.() ?? 0;
  const path = resolve(tmpdir(), `blixard-${userId}`);
  await mkdir(path, { recursive: true, mode: 0o700 });
  const facts = await lstat(path);
  // Anybody can make names in a shared temporary directory; one that is not ours could show our sockets to others.
  if (!facts.isDirectory() || facts.uid !== userId || (facts.mode & 0o077) !== 0) {
    throw new BlixardError("DATA_DIR_INVALID", `${path} is not a private directory of this user`, {
      hint: "remove it, or use a shorter data directory",
    });
  }
  return path;
}
