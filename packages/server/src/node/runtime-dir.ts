/**
 * The runtime directory of this user: what a process leaves there only processes of the same user can read, and root.
 *
 *     $XDG_RUNTIME_DIR/blixard     where that is set and belongs to this user
 *     TMPDIR/blixard-UID           otherwise; no home directory is needed
 *
 * Another user may have made either of them, so it is used only when it belongs to this user and nobody else can use it.
 */
import type { Stats } from "node:fs";
import { lstat, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { BlixardError, reasonOf } from "@blixard/common";
import { readOwnFile, writeOwnFile } from "@blixard/common/system";

type Environment = Readonly<Record<string, string | undefined>>;

const directoryMode = 0o700;
const writableByOthers = 0o022;
const usableByOthers = 0o077;
const fileBytesMax = 4_096;

/** Where files of this user may be, the place for new ones first. */
async function candidates(env: Environment): Promise<string[]> {
  const uid = process.getuid?.();
  const temporary = join(tmpdir(), uid === undefined ? "blixard" : `blixard-${uid}`);
  const xdg = env["XDG_RUNTIME_DIR"] ?? "";
  // Whoever owns the directory above can put another one in the place of ours.
  const usesXdg = isAbsolute(xdg) && (await isOwnDirectory(xdg, writableByOthers));
  return [...(usesXdg ? [join(xdg, "blixard")] : []), temporary];
}

/** Writes a file as a whole and returns its path. @throws UNSUPPORTED when no directory is fit for it */
export async function writeRuntimeSecret(env: Environment, name: string, text: string): Promise<string> {
  const reasons: string[] = [];
  for (const directory of await candidates(env)) {
    try {
      await mkdir(directory, { mode: directoryMode }).catch(ignoreExisting);
      if (!(await isOwnDirectory(directory, usableByOthers))) {
        reasons.push(`${directory} belongs to another user, or others can use it`);
        continue;
      }
      const path = join(directory, name);
      writeOwnFile(path, text);
      return path;
    } catch (error) {
      reasons.push(`${directory}: ${reasonOf(error)}`);
    }
  }
  throw new BlixardError("UNSUPPORTED", `this user has no runtime directory: ${reasons.join("; ")}`);
}

/** The text of a file that only this user can have written; undefined when there is none. */
export async function readRuntimeSecret(env: Environment, name: string): Promise<string | undefined> {
  for (const directory of await candidates(env)) {
    if (!(await isOwnDirectory(directory, usableByOthers))) continue;
    const text = readPrivate(join(directory, name));
    if (text !== undefined) return text;
  }
  return undefined;
}

/** What this user has not written alone, or what is none, is as good as absent. */
function readPrivate(path: string): string | undefined {
  try {
    return readOwnFile(path, { bytesMax: fileBytesMax });
  } catch {
    return undefined;
  }
}

async function isOwnDirectory(path: string, forbiddenBits: number): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  return stats?.isDirectory() === true && isPrivate(stats, forbiddenBits);
}

/** Windows has neither such owners nor such modes; its directory for temporary files is that of one user. */
function isPrivate({ uid, mode }: Stats, forbiddenBits: number): boolean {
  const own = process.getuid?.();
  return own === undefined || (uid === own && (mode & forbiddenBits) === 0);
}

function ignoreExisting(error: unknown): void {
  if ((error as { readonly code?: unknown }).code !== "EEXIST") throw error;
}
