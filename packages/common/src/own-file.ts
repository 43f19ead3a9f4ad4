/**
 * Files that decide what a process trusts: its keys, its tokens, what it remembers. They belong to this user, nobody else can
 * use them, and no link stands in for them. All of that is asked of the open file, so that nobody exchanges it in between.
 * Windows has neither such owners nor such modes; there only the links and the size are looked at.
 */
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import type { ErrorCode } from "./error-codes.ts";
import { BlixardError, systemErrorCodeOf } from "./errors.ts";
import { readBounded } from "./named-file.ts";

/** Why a file is refused, in `details.fault`. */
export type FileFault = "link" | "kind" | "owner" | "mode" | "size";

export interface OwnFileOptions {
  /** Default 1 MiB. */
  readonly bytesMax?: number;
  /** It holds no secret, so that the mode of its directory is enough: its own is not looked at. Default false. */
  readonly public?: boolean;
  /** Code of the error for a file that is refused. Default DATA_DIR_INVALID. */
  readonly code?: ErrorCode;
  /** The code where only the mode is wrong. Default `code`. */
  readonly modeCode?: ErrorCode;
}

const defaultBytesMax = 1024 * 1024;
const usableByOthers = 0o077;
const writableByOthers = 0o022;
const privateFileMode = 0o600;
const privateDirectoryMode = 0o700;

/**
 * The text of a file of this user. Never waits, whatever the path leads to.
 * @throws an error with the code of `options` and a `FileFault`, or that of the operating system (`ENOENT`)
 */
export function readOwnFile(path: string, options: OwnFileOptions = {}): string {
  const { bytesMax = defaultBytesMax, code = "DATA_DIR_INVALID" } = options;
  const file = openUnfollowed(path, code);
  try {
    const stats = fstatSync(file);
    // The system says EISDIR at the first read.
    if (!stats.isFile() && !stats.isDirectory()) throw refused(code, "kind", `${path} is no file`, "Move it away.");
    if (stats.isFile()) refuseStats(path, stats, options);
    const bytes = readBounded(file, bytesMax);
    if (bytes === undefined) {
      throw refused(
        code,
        "size",
        `${path} is larger than ${bytesMax} bytes`,
        "Restore it from a backup, or move it away.",
      );
    }
    return bytes.toString("utf8");
  } finally {
    closeSync(file);
  }
}

/** Replaces a file of this user as a whole, also under two writers at once; never writes through a link. */
export function writeOwnFile(path: string, text: string): void {
  const draft = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const file = openSync(draft, "wx", privateFileMode);
  try {
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/**
 * Checks that a directory belongs to this user and is closed to others; the path may be a link. One that is empty may be
 * wide where `emptyMayBeWide`: its owner has just made it.
 * @throws DATA_DIR_INVALID with a `FileFault`, or the error of the operating system
 */
export function assertOwnDirectory(path: string, options: { readonly emptyMayBeWide?: boolean } = {}): void {
  const directory = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(directory);
    if (!stats.isDirectory()) {
      throw refused("DATA_DIR_INVALID", "kind", `${path} is no directory`, "Name another directory.");
    }
    const isFresh = options.emptyMayBeWide === true && isEmpty(path);
    refuseStats(path, stats, { public: isFresh });
  } finally {
    closeSync(directory);
  }
}

/** Makes a directory, and those above it, for this user only; one that is there stays as it is. */
export function makePrivateDirectory(path: string): void {
  if (isDirectory(path)) return;
  const above = dirname(path);
  if (above !== path) makePrivateDirectory(above);
  try {
    // Not recursive: that never ends where a file system takes no directories, as /proc.
    mkdirSync(path, { mode: privateDirectoryMode });
  } catch (error) {
    const code = systemErrorCodeOf(error);
    if (code === "EEXIST") {
      if (isDirectory(path)) return;
      throw refused("DATA_DIR_INVALID", "kind", `${path} is no directory`, "Name another directory.");
    }
    if (code !== "ENOENT") throw error;
    throw new BlixardError("DATA_DIR_INVALID", `${path} cannot be made: ${above} takes no directories`, {
      cause: error,
      hint: "Name a directory on a disk.",
    });
  }
}

/** Closes a directory of this user to others. */
export function narrowDirectory(path: string): void {
  if (isUnix() && (statSync(path).mode & usableByOthers) !== 0) chmodSync(path, privateDirectoryMode);
}

/** Whether an error says that a file was refused for what it is, and not for what is in it. */
export function fileFaultOf(error: unknown): FileFault | undefined {
  const { details } = (error ?? {}) as { readonly details?: Readonly<Record<string, unknown>> };
  return details?.["fault"] as FileFault | undefined;
}

/** What is wrong with a link, or with the owner of an entry that somebody else opens by its name (Level). */
export function refuseEntry(path: string, stats: Stats): void {
  if (stats.isSymbolicLink()) throw linkRefused(path, "DATA_DIR_INVALID");
  refuseStats(path, stats, { public: true });
}

function openUnfollowed(path: string, code: ErrorCode): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (systemErrorCodeOf(error) === "ELOOP") throw linkRefused(path, code);
    // A socket.
    if (systemErrorCodeOf(error) === "ENXIO") throw refused(code, "kind", `${path} is no file`, "Move it away.");
    throw error;
  }
}

function linkRefused(path: string, code: ErrorCode): BlixardError {
  return refused(
    code,
    "link",
    `${path} is a link, and a link may lead to a file of somebody else`,
    `Put the file itself there: cp --remove-destination "$(readlink -f ${quoted(path)})" ${quoted(path)}`,
  );
}

function refuseStats(path: string, stats: Stats, options: Pick<OwnFileOptions, "public" | "code" | "modeCode">): void {
  if (!isUnix()) return;
  const { code = "DATA_DIR_INVALID", modeCode = code } = options;
  const own = process.geteuid?.();
  if (own !== undefined && stats.uid !== own) {
    throw refused(
      code,
      "owner",
      `${path} belongs to user ${stats.uid}, and this is user ${own}`,
      `Run this as user ${stats.uid}; or, when you know that nobody else wrote what is in it: chown ${own} ${quoted(path)}`,
    );
  }
  const wide = stats.mode & usableByOthers;
  if (wide === 0 || options.public === true) return;
  const can = (wide & writableByOthers) === 0 ? "read" : "write";
  const shown = (stats.mode & 0o7777).toString(8).padStart(4, "0");
  const unit = stats.isDirectory() ? "  (in a systemd unit: StateDirectoryMode=0700)" : "";
  throw refused(
    modeCode,
    "mode",
    `${path} can be used by others, who can ${can} it (mode ${shown})`,
    `Run: chmod ${stats.isDirectory() ? 700 : 600} ${quoted(path)}${unit}`,
  );
}

function refused(code: ErrorCode, fault: FileFault, message: string, hint: string): BlixardError {
  return new BlixardError(code, message, { hint, details: { fault } });
}

/** A path as a shell takes it. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

function isUnix(): boolean {
  return process.platform !== "win32";
}

/** Each new file system has this entry. */
function isEmpty(path: string): boolean {
  return readdirSync(path).every((name) => name === "lost+found");
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
