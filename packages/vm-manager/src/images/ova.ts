/**
 * Reads an OVA: a tar archive (POSIX ustar) with the description of a machine (`.ovf`), one disk, and where there is one a
 * list of digests (`.mf`), which is checked. The reader is bounded, follows no name out of the archive, and takes of the
 * description only which file the disk is.
 */
import { createHash } from "node:crypto";
import { type ByteSource, partOf, piecesOf, refuseImage } from "./byte-source.ts";
import { imageLimits } from "./image-limits.ts";

const blockBytes = 512;
const digestAlgorithms = { SHA1: "sha1", SHA256: "sha256", SHA512: "sha512" } as const;

/** Whether the first block is that of a tar archive. */
export function looksLikeTar(head: Uint8Array): boolean {
  return head.length >= blockBytes && textOf(head.subarray(257, 262)) === "ustar";
}

/** The disk of an OVA, after all digests that the archive gives were checked. @throws INVALID_ARGUMENT */
export async function openOva(source: ByteSource, signal?: AbortSignal): Promise<ByteSource> {
  const files = await readArchive(source);
  const named = (ending: string) => [...files].filter(([name]) => name.toLowerCase().endsWith(ending));
  const [description, ...more] = named(".ovf");
  if (description === undefined || more.length > 0) throw refuseImage("an OVA has one description (.ovf)");
  const disk = files.get(diskOf(await textFile(description[1])));
  if (disk === undefined) throw refuseImage("the disk that its description names is not in it");
  const [list] = named(".mf");
  if (list !== undefined) await assertDigests(await textFile(list[1]), files, signal);
  return disk;
}

async function readArchive(source: ByteSource): Promise<ReadonlyMap<string, ByteSource>> {
  const files = new Map<string, ByteSource>();
  for (let at = 0; at + blockBytes <= source.sizeBytes; ) {
    const header = await source.read(at, blockBytes);
    if (header.every((byte) => byte === 0)) return files;
    const { name, sizeBytes, type } = readEntry(header);
    if (type !== "0" && type !== "\0")
      throw refuseImage(`it has an entry that is no file (type ${JSON.stringify(type)})`);
    if (!/^[^/\\\0]{1,100}$/.test(name) || name.startsWith("..")) throw refuseImage("a name in it leads out of it");
    if (files.has(name) || files.size >= imageLimits.ovaEntriesMax) throw refuseImage("it has too many files");
    const from = at + blockBytes;
    if (from + sizeBytes > source.sizeBytes) throw refuseImage("a file in it is cut off");
    files.set(name, partOf(source, from, sizeBytes));
    at = from + Math.ceil(sizeBytes / blockBytes) * blockBytes;
  }
  throw refuseImage("it has no end; it may be cut off");
}

function readEntry(header: Uint8Array) {
  if (!looksLikeTar(header)) throw refuseImage("a file in it has no header");
  const field = (at: number, length: number) => textOf(header.subarray(at, at + length)).replace(/\0.*$/s, "");
  const number = (at: number, length: number) => {
    const text = field(at, length).trim();
    if (!/^[0-7]{1,11}$/.test(text)) throw refuseImage("a number in it is none");
    return Number.parseInt(text, 8);
  };
  // The sum is made with its own place filled with blanks.
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  if (sum !== number(148, 8)) throw refuseImage("the header of a file in it is damaged");
  if (field(345, 155) !== "") throw refuseImage("a name in it leads out of it");
  return {
    name: field(0, 100).replace(/^\.\//, ""),
    sizeBytes: number(124, 12),
    type: textOf(header.subarray(156, 157)),
  };
}

/** The name of the file of its only disk. */
function diskOf(description: string): string {
  if (/<!(DOCTYPE|ENTITY)/i.test(description)) throw refuseImage("its description defines entities");
  const elements = (name: string) =>
    [...description.matchAll(new RegExp(`<(?:[A-Za-z][\\w.-]{0,31}:)?${name}\\s([^<>]{1,4096})>`, "g"))].map(
      ([, text = ""]) =>
        new Map(
          [...text.matchAll(/([\w:.-]{1,64})\s*=\s*"([^"]*)"/g)].map(([, key = "", value = ""]) => [
            key.replace(/^.*:/, ""),
            value,
          ]),
        ),
    );
  const disks = elements("Disk").filter((disk) => disk.has("fileRef"));
  const [disk] = disks;
  if (disk === undefined || disks.length > 1) throw refuseImage(`it has ${disks.length} disks, and one is taken`);
  if (disk.has("parentRef")) throw refuseImage("its disk has a parent");
  const file = elements("File").find((candidate) => candidate.get("id") === disk.get("fileRef"));
  if (file === undefined) throw refuseImage("its description names no file for its disk");
  if (file.has("chunkSize")) throw refuseImage("its disk is in several files");
  if (!["", "identity"].includes(file.get("compression") ?? "")) throw refuseImage("its disk is packed once more");
  return file.get("href") ?? "";
}

async function assertDigests(
  list: string,
  files: ReadonlyMap<string, ByteSource>,
  signal?: AbortSignal,
): Promise<void> {
  for (const line of list.split(/\r?\n/).filter((text) => text.trim() !== "")) {
    const [, algorithm = "", name = "", digest = ""] =
      /^(SHA1|SHA256|SHA512) ?\((.{1,100})\) ?= ?([0-9a-f]+)\s*$/i.exec(line) ?? [];
    const file = files.get(name);
    if (file === undefined) throw refuseImage("its list of digests names a file that is not in it");
    const hash = createHash(digestAlgorithms[algorithm.toUpperCase() as keyof typeof digestAlgorithms]);
    for await (const piece of piecesOf(file)) {
      signal?.throwIfAborted();
      hash.update(piece);
    }
    if (hash.digest("hex") !== digest.toLowerCase())
      throw refuseImage(`${name} in it has another digest than its list says`);
  }
}

async function textFile(file: ByteSource): Promise<string> {
  if (file.sizeBytes > imageLimits.ovfBytesMax) throw refuseImage("its description is too long");
  return new TextDecoder().decode(await file.read(0, file.sizeBytes));
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}
