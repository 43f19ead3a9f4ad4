/**
 * Writes a small ISO 9660 file system (ECMA-119) with a few files in its root. An own writer, so that no other program is
 * given secrets, and none has to be there. Names stand twice: short for everybody, and as they are in Joliet.
 *
 *     sector 16  primary volume descriptor
 *            17  the same for Joliet
 *            18  the end of the descriptors
 *        19, 20  path table, little-endian and big-endian
 *        21, 22  the same for Joliet
 *        23, 24  root directory, and that for Joliet
 *            25  the files, one after the other
 */
import { assert } from "@blixard/common";

export interface IsoFile {
  /** Small letters, digits and dashes. */
  readonly name: string;
  readonly content: Uint8Array;
}

export const isoSectorBytes = 2_048;
const sector = { primary: 16, joliet: 17, end: 18, paths: 19, jolietPaths: 21, root: 23, jolietRoot: 24, files: 25 };
const namePattern = /^[a-z0-9][a-z0-9-]{0,30}$/;
/** "UCS-2, level 3", by which Joliet is known. */
const jolietEscape = [0x25, 0x2f, 0x45];
const ascii = new TextEncoder();

/** `label`: 16 capital letters, digits and underscores at most. */
export function isoImage(label: string, files: readonly IsoFile[]): Uint8Array {
  assert(/^[A-Z0-9_]{1,16}$/.test(label), "a label has capital letters, digits and underscores");
  const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  let next = sector.files;
  const placed = sorted.map(({ name, content }) => {
    assert(namePattern.test(name), "a file has a plain name");
    const at = next;
    next += Math.ceil(content.length / isoSectorBytes);
    return { name, content, at };
  });
  const image = new Uint8Array(next * isoSectorBytes);
  const put = (at: number, bytes: Uint8Array) => image.set(bytes, at * isoSectorBytes);
  for (const joliet of [false, true]) {
    const [descriptor, paths, root] = joliet
      ? [sector.joliet, sector.jolietPaths, sector.jolietRoot]
      : [sector.primary, sector.paths, sector.root];
    put(descriptor, volumeDescriptor({ label, joliet, sectors: next, paths, root }));
    put(paths, pathTable(root, true));
    put(paths + 1, pathTable(root, false));
    put(root, rootDirectory(root, placed, joliet));
  }
  put(sector.end, Uint8Array.of(255, ...ascii.encode("CD001"), 1));
  for (const { at, content } of placed) put(at, content);
  return image;
}

interface Placed extends IsoFile {
  readonly at: number;
}

interface Volume {
  readonly label: string;
  readonly joliet: boolean;
  readonly sectors: number;
  readonly paths: number;
  readonly root: number;
}

function volumeDescriptor({ label, joliet, sectors, paths, root }: Volume): Uint8Array {
  const bytes = new Uint8Array(isoSectorBytes);
  const view = new DataView(bytes.buffer);
  const text = (at: number, length: number, value: string) => {
    const filled = joliet ? ucs2(value.padEnd(Math.floor(length / 2))) : ascii.encode(value.padEnd(length));
    bytes.set(filled, at);
  };
  bytes[0] = joliet ? 2 : 1;
  bytes.set(ascii.encode("CD001"), 1);
  bytes[6] = 1;
  text(8, 32, "");
  text(40, 32, label);
  both32(view, 80, sectors);
  if (joliet) bytes.set(jolietEscape, 88);
  both16(view, 120, 1);
  both16(view, 124, 1);
  both16(view, 128, isoSectorBytes);
  both32(view, 132, pathTable(root, true).length);
  view.setUint32(140, paths, true);
  view.setUint32(148, paths + 1);
  bytes.set(directoryRecord({ name: Uint8Array.of(0), at: root, length: isoSectorBytes, isDirectory: true }), 156);
  for (const [at, length] of [
    [190, 128],
    [318, 128],
    [446, 128],
    [574, 128],
    [702, 37],
    [739, 37],
    [776, 37],
  ] as const) {
    text(at, length, "");
  }
  // Four dates that were not given: sixteen digits 0 and a zone.
  for (const at of [813, 830, 847, 864]) bytes.set(ascii.encode("0".repeat(16)), at);
  bytes[881] = 1;
  return bytes;
}

/** The one directory, which is its own parent. */
function pathTable(root: number, littleEndian: boolean): Uint8Array {
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  bytes[0] = 1;
  view.setUint32(2, root, littleEndian);
  view.setUint16(6, 1, littleEndian);
  return bytes;
}

function rootDirectory(root: number, files: readonly Placed[], joliet: boolean): Uint8Array {
  const self = { at: root, length: isoSectorBytes, isDirectory: true };
  const records = [
    directoryRecord({ ...self, name: Uint8Array.of(0) }),
    directoryRecord({ ...self, name: Uint8Array.of(1) }),
    ...files.map(({ name, at, content }) => {
      const shown = joliet ? ucs2(`${name};1`) : ascii.encode(`${name.toUpperCase()}.;1`);
      return directoryRecord({ name: shown, at, length: content.length, isDirectory: false });
    }),
  ];
  const bytes = records.flatMap((record) => [...record]);
  assert(bytes.length <= isoSectorBytes, "the root directory has one sector");
  return Uint8Array.from(bytes);
}

function directoryRecord(entry: {
  readonly name: Uint8Array;
  readonly at: number;
  readonly length: number;
  readonly isDirectory: boolean;
}): Uint8Array {
  const { name, at, length, isDirectory } = entry;
  const size = 33 + name.length + ((33 + name.length) % 2);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes[0] = size;
  both32(view, 2, at);
  both32(view, 10, length);
  bytes[25] = isDirectory ? 2 : 0;
  both16(view, 28, 1);
  bytes[32] = name.length;
  bytes.set(name, 33);
  return bytes;
}

/** A number stands in both byte orders. */
function both32(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true);
  view.setUint32(at + 4, value);
}

function both16(view: DataView, at: number, value: number): void {
  view.setUint16(at, value, true);
  view.setUint16(at + 2, value);
}

function ucs2(text: string): Uint8Array {
  return Uint8Array.from([...text].flatMap((letter) => [0, letter.charCodeAt(0)]));
}
