/**
 * Files that a person named: they may be links, pipes (`--token-file <(pass show blixard)`) and anything else. So there is a
 * limit to what is read of them, and to how long nobody writes.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { BlixardError, systemErrorCodeOf } from "./errors.ts";

const pieceBytes = 64 * 1024;
const pollMs = 20;
/** For somebody who opens a named pipe for writing. */
const writerPatienceMs = 3_000;
/** For somebody who has it open, and may be asking a person for a passphrase. */
const bytesPatienceMs = 60_000;

/** The text of a file or a pipe. @throws VALUE_TOO_LARGE, INVALID_ARGUMENT, or the error of the operating system */
export async function readNamedFile(path: string, bytesMax: number): Promise<string> {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(file);
    const bytes =
      stats.isFIFO() || stats.isCharacterDevice() ? await readSlowly(file, path, bytesMax, stats) : undefined;
    return bytes?.toString("utf8") ?? readRegular(file, path, bytesMax);
  } finally {
    closeSync(file);
  }
}

/** The same of a file that is read again and again, so that it is no pipe; never waits. */
export function readNamedFileNow(path: string, bytesMax: number): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(file);
    // The system says EISDIR at the first read.
    if (stats.isFile() || stats.isDirectory()) return readRegular(file, path, bytesMax);
    throw new BlixardError("INVALID_ARGUMENT", `${path} is no file`, {
      hint: "It is read again later, so a pipe will not do.",
    });
  } finally {
    closeSync(file);
  }
}

/** Everything that an open file holds; undefined when that is more than `bytesMax`. */
export function readBounded(file: number, bytesMax: number): Buffer | undefined {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for (;;) {
    const piece = Buffer.allocUnsafe(Math.min(pieceBytes, bytesMax + 1 - sizeBytes));
    const bytesRead = readSync(file, piece);
    if (bytesRead === 0) return Buffer.concat(pieces);
    sizeBytes += bytesRead;
    if (sizeBytes > bytesMax) return undefined;
    pieces.push(piece.subarray(0, bytesRead));
  }
}

function readRegular(file: number, path: string, bytesMax: number): string {
  const bytes = readBounded(file, bytesMax);
  if (bytes === undefined) throw tooLarge(path, bytesMax);
  return bytes.toString("utf8");
}

async function readSlowly(file: number, path: string, bytesMax: number, stats: Stats): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  let lastMs = performance.now();
  for (;;) {
    const piece = Buffer.allocUnsafe(pieceBytes);
    const bytesRead = readNow(file, piece);
    // Nobody has the other end open: not any more, or not yet.
    if (bytesRead === 0 && (sizeBytes > 0 || !stats.isFIFO())) return Buffer.concat(pieces);
    if (bytesRead === undefined || bytesRead === 0) {
      const patienceMs = bytesRead === 0 ? writerPatienceMs : bytesPatienceMs;
      if (performance.now() - lastMs > patienceMs) {
        throw new BlixardError("INVALID_ARGUMENT", `nobody writes into ${path}`, { hint: "Name a file." });
      }
      await wait(pollMs);
      continue;
    }
    lastMs = performance.now();
    sizeBytes += bytesRead;
    if (sizeBytes > bytesMax) throw tooLarge(path, bytesMax);
    pieces.push(piece.subarray(0, bytesRead));
  }
}

/** Undefined while the other end is silent. */
function readNow(file: number, into: Buffer): number | undefined {
  try {
    return readSync(file, into);
  } catch (error) {
    if (systemErrorCodeOf(error) === "EAGAIN") return undefined;
    throw error;
  }
}

function tooLarge(path: string, bytesMax: number): BlixardError {
  return new BlixardError("VALUE_TOO_LARGE", `${path} is larger than ${bytesMax} bytes`, {
    hint: "Is it the right file?",
  });
}
