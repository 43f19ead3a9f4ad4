/** Writes the archive format of an initial RAM disk ("newc", Documentation/driver-api/early-userspace/buffer-format.rst). */
import { concatBytes, fromUtf8 } from "@blixard/common";

export interface CpioEntry {
  readonly path: string;
  /** File type and permissions, as of stat(2): 0o100755 for a program, 0o040755 for a directory. */
  readonly mode: number;
  readonly data?: Uint8Array;
}

export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  return concatBytes([...entries, { path: "TRAILER!!!", mode: 0 }].flatMap(writeEntry));
}

function writeEntry(entry: CpioEntry, index: number): Uint8Array[] {
  const data = entry.data ?? new Uint8Array(0);
  const name = fromUtf8(`${entry.path}\0`);
  const fields = [index + 1, entry.mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = fromUtf8(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

/** Header with name, and data, each end on a multiple of four bytes. */
function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}
