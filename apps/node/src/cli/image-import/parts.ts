/** The parts of an image as they are imported: opened and inspected before anything of them is sent. */
import { createHash } from "node:crypto";
import { lstat, readlink } from "node:fs/promises";
import { BlixardError, reasonOf } from "@blixard/common";
import type { ImageBlob, ImageFormat } from "@blixard/protocol";
import type { DiskSourceFormat, FileSource } from "@blixard/vm-manager/images";
import { type CliContext, say } from "../cli-context.ts";
import { download, isUrl } from "./download.ts";
import { Progress } from "./progress.ts";

export interface PartWish {
  readonly role: ImageBlob["role"];
  /** A path, or a URL. */
  readonly from: string;
}

export interface Part {
  readonly role: ImageBlob["role"];
  /** As the user wrote it. */
  readonly from: string;
  readonly source: FileSource;
  /** Of what is stored, which is not always what was given. */
  readonly sizeBytes: number;
  readonly diskFormat: "raw" | "qcow2" | undefined;
  /** True for a raw disk that was said to be one. */
  readonly raw: boolean;
  pieces(offset: number): AsyncIterable<Uint8Array>;
  /** Removes what was downloaded. */
  forget(): Promise<void>;
}

export interface PartWords {
  readonly format: ImageFormat;
  readonly diskFormat: DiskSourceFormat | undefined;
}

/** Follows a link that the user names, and says where it leads. A download that is refused is forgotten. @throws INVALID_ARGUMENT */
export async function openPart(context: CliContext, { role, from }: PartWish, words: PartWords): Promise<Part> {
  const fetched = isUrl(from) ? await download(context, from) : undefined;
  const path = fetched?.path ?? from;
  const { FileSource } = await import("@blixard/vm-manager/images");
  const link = await lstat(path).catch(() => undefined);
  if (link?.isSymbolicLink() === true) say(context, `${path} is a link to ${await readlink(path)}`);
  const source = await FileSource.open(path);
  try {
    const inspected = await inspectPart(context, role, source, words);
    return { role, from, source, ...inspected, forget: async () => await fetched?.forget() };
  } catch (error) {
    await source[Symbol.asyncDispose]();
    await fetched?.forget();
    throw new BlixardError("INVALID_ARGUMENT", `${from}: ${reasonOf(error)}`, { cause: error });
  }
}

async function inspectPart(
  { signal }: CliContext,
  role: ImageBlob["role"],
  source: FileSource,
  { format, diskFormat }: PartWords,
): Promise<Pick<Part, "sizeBytes" | "diskFormat" | "raw" | "pieces">> {
  const images = await import("@blixard/vm-manager/images");
  if (role === "disk") {
    const disk = await images.openDisk(source, diskFormat, signal);
    const { sizeBytes } = disk;
    return { sizeBytes, diskFormat: disk.format, raw: diskFormat === "raw", pieces: (offset) => disk.pieces(offset) };
  }
  if (role === "iso") await images.inspectIso(source);
  else if (role === "initrd") await images.inspectInitrd(source);
  else if (format === "linux") await images.inspectLinux(source);
  else await images.inspectMultiboot(source);
  const pieces = (offset: number) => images.piecesOf(source, offset);
  return { sizeBytes: source.sizeBytes, diskFormat: undefined, raw: false, pieces };
}

/** The digest of what is stored. Reads all of it once, so that a part of it that cannot be read is known before. */
export async function digestOf(context: CliContext, part: Part): Promise<string> {
  const progress = new Progress(context, `reading ${part.role}`, part.sizeBytes);
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of part.pieces(0)) {
    context.signal.throwIfAborted();
    hash.update(piece);
    bytes += piece.length;
    progress.at(bytes);
  }
  progress.end();
  await part.source.assertUnchanged();
  return hash.digest("hex");
}

/** Compares what was given, before it was converted, with the digest that its giver states. @throws INVALID_ARGUMENT */
export async function assertChecksum(context: CliContext, part: Part, expected: string): Promise<void> {
  const { piecesOf } = await import("@blixard/vm-manager/images");
  const hash = createHash("sha256");
  for await (const piece of piecesOf(part.source)) {
    context.signal.throwIfAborted();
    hash.update(piece);
  }
  const digest = hash.digest("hex");
  if (digest === expected) return;
  await part.forget();
  throw new BlixardError("INVALID_ARGUMENT", `${part.from} has the SHA-256 ${digest}, and not ${expected}`, {
    hint: "It was damaged on its way, or is not what it should be.",
  });
}
