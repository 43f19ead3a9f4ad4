/** `blixard volume export|import`: what is on a volume, from and to a file of this machine. */
import { createHash } from "node:crypto";
import { type FileHandle, rm } from "node:fs/promises";
import { BlixardError, notApplied } from "@blixard/common";
import { limits, type VolumeRecord } from "@blixard/protocol";
import { type DiskContent, type DiskSourceFormat, diskSourceFormats } from "@blixard/vm-manager/images";
import { type Command, Option } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { withAttempts } from "../image-import/attempts.ts";
import { assertChecksum, openPart, type Part } from "../image-import/parts.ts";
import { Progress } from "../image-import/progress.ts";
import { attemptsMax, mayPass, withHint } from "../image-import/upload.ts";
import { createFile } from "../new-file.ts";
import { print } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { parseChecksum } from "./image.ts";
import { parseGiB } from "./vm-disks.ts";

type ImportOptions = ClientOptions & {
  readonly node?: string;
  readonly size?: string;
  readonly format?: DiskSourceFormat;
  readonly checksum?: string;
};

const gibibyte = 1024 ** 3;
/** The node reads all of it before it answers; who asks again waits on. */
const finishMs = 100_000;

/** `finish` waits until the node of a volume has it, and prints it; `find` gives undefined for one that is not there. */
interface VolumeSteps {
  finish(session: ClientSession, volume: VolumeRecord): Promise<void>;
  find(session: ClientSession, name: string): Promise<VolumeRecord | undefined>;
}

export function registerVolumeFiles(command: Command, context: CliContext, steps: VolumeSteps): void {
  withClientOptions(
    command
      .command("export <name> <file>")
      .description(
        "write what is on a volume that no VM runs with into a raw file, which takes room where it is not zero",
      ),
  ).action((name: string, file: string, options: ClientOptions) =>
    withClient(context, options, async (session) => {
      const written = await exportVolume(session, name, file);
      const text = () => `volume ${name} written to ${file}, sha256:${written.sha256}\n`;
      await print(context, session.format, { name, file, ...written }, text, [file]);
    }),
  );
  withClientOptions(
    command
      .command("import <name> <file>")
      .description("make a volume of a raw, qcow2 or vmdk disk, or of the disk in an OVA; goes on where it stopped"),
  )
    .option("--node <id>", "where (default: the node with the fewest volumes)")
    .option("--size <size>", "for example 16G (default: that of the disk, in whole GiB)")
    .addOption(
      new Option(
        "--format <format>",
        "what the file is (default: what it shows; raw has to be said without a sign of a disk)",
      ).choices(diskSourceFormats),
    )
    .option("--checksum <sha256:digest>", "of the file as it is given")
    .action((name: string, file: string, options: ImportOptions) =>
      withClient(context, options, async (session) => {
        await steps.finish(session, await importVolume(session, steps, { name, file, ...options }));
      }),
    );
}

interface Exported {
  readonly sizeBytes: number;
  readonly dataBytes: number;
  readonly sha256: string;
}

/** Never writes over a file, and leaves none behind that is not the whole volume as it was at one time. */
async function exportVolume(session: ClientSession, name: string, file: string): Promise<Exported> {
  const { context } = session;
  const out = await createFile(file);
  try {
    const exported = await writePieces(session, name, out);
    await out.truncate(exported.sizeBytes);
    await out.sync();
    say(context, `${exported.dataBytes} of ${exported.sizeBytes} bytes are not zero`);
    return exported;
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await out.close();
  }
}

/** Bytes that pass through another node take its time, and much longer. One that is no voter serves nobody from outside. */
async function goTo({ client }: ClientSession, nodeId: number): Promise<void> {
  const node = await client.nodes.get(nodeId).catch(() => undefined);
  if (node?.role === "voter") client.prefer(node);
}

async function writePieces(session: ClientSession, name: string, out: FileHandle): Promise<Exported> {
  const { client, context } = session;
  const { signal } = context;
  await goTo(session, (await client.volumes.get(name)).node);
  const hash = createHash("sha256");
  const read = (offset: number) =>
    withAttempts(context, { attemptsMax, mayPass: isPassing }, () => client.volumes.read({ name, offset }, { signal }));
  let progress: Progress | undefined;
  let version: string | undefined;
  let [hashed, dataBytes] = [0, 0];
  const skipTo = (offset: number) => {
    for (; hashed < offset; hashed += zeros.length) hash.update(zeros.subarray(0, offset - hashed));
    hashed = offset;
  };
  for (let offset = 0; ; ) {
    const piece = await read(offset);
    version ??= piece.version;
    if (piece.version !== version) {
      throw new BlixardError("CONFLICT", `the volume ${name} was changed while it was read`, {
        hint: "Export it again.",
      });
    }
    progress ??= new Progress(context, `reading ${name}`, piece.endOffset);
    const data = Buffer.from(piece.data, "base64");
    skipTo(piece.offset);
    hash.update(data);
    hashed += data.length;
    dataBytes += data.length;
    for (let at = 0; at < data.length; ) {
      at += (await out.write(data, at, data.length - at, piece.offset + at)).bytesWritten;
    }
    // What says that nothing more is there goes forward too.
    const next = piece.offset + data.length;
    if (next <= offset && next < piece.endOffset) throw new BlixardError("INTERNAL", "the node gives no more of it");
    offset = next;
    progress.at(offset);
    if (offset >= piece.endOffset) {
      progress.end();
      return { sizeBytes: piece.endOffset, dataBytes, sha256: hash.digest("hex") };
    }
  }
}

const zeros = Buffer.alloc(1024 ** 2);

/** A conflict says that somebody runs with it: waiting would not help. */
function isPassing(error: unknown): boolean {
  return mayPass(error) && !(error instanceof BlixardError && error.code === "CONFLICT");
}

type Import = ImportOptions & { readonly name: string; readonly file: string };

async function importVolume(session: ClientSession, { find }: VolumeSteps, given: Import): Promise<VolumeRecord> {
  const { context } = session;
  const { name, file, format, checksum } = given;
  const expected = checksum === undefined ? undefined : parseChecksum(checksum);
  await assertFree(session, await find(session, name), name);
  const words = { format: "disk", diskFormat: format } as const;
  const part = await openPart(context, { role: "disk", from: file }, words);
  try {
    if (expected !== undefined) await assertChecksum(context, part, expected);
    const { openContent } = await import("@blixard/vm-manager/images");
    const content = await openContent(part.source, format, context.signal);
    const importDigest = await contentDigestOf(context, part, content);
    const begun = await find(session, name);
    const goesOn = begun?.importDigest === importDigest;
    const volume = goesOn ? begun : await createVolume(session, given, content, importDigest);
    if (goesOn) assertSameWishes(volume, given);
    if (goesOn) say(context, `the volume ${name} on node ${volume.node} is this import already: it goes on`);
    const send = () => sendBlocks(session, find, { volume, content, part });
    await withAttempts(context, { attemptsMax, mayPass }, send).catch((error: unknown) => {
      throw withHint(error);
    });
    await part.forget();
    return volume;
  } finally {
    await part.source[Symbol.asyncDispose]();
  }
}

/** Before the file is read, which may take long. @throws ALREADY_EXISTS */
async function assertFree(
  { mayRepeat }: ClientSession,
  present: VolumeRecord | undefined,
  name: string,
): Promise<void> {
  // One that is being imported may be this one; so may one that an import of before has made, and did not see the end of.
  if (present === undefined || present.importDigest !== undefined || mayRepeat) return;
  throw notApplied("ALREADY_EXISTS", `there is a volume ${name} already`, {
    hint: "Choose another name, or delete that one first.",
  });
}

/** @throws CONFLICT */
function assertSameWishes({ name, sizeGiB, node }: VolumeRecord, given: Import): void {
  const isOther =
    (given.size !== undefined && parseGiB(given.size, "--size") !== sizeGiB) ||
    (given.node !== undefined && parseInteger(given.node, "--node", 1) !== node);
  if (!isOther) return;
  throw notApplied("CONFLICT", `the volume ${name} is this import already, with ${sizeGiB} GiB on node ${node}`, {
    hint: `The import goes on without another --size or --node. For another one: blixard volume delete ${name}`,
  });
}

async function contentDigestOf(context: CliContext, part: Part, content: DiskContent): Promise<string> {
  const { ContentDigest } = await import("@blixard/vm-manager/images");
  const progress = new Progress(context, `reading ${part.from}`, content.virtualBytes);
  const digest = new ContentDigest();
  for await (const block of content.blocks(0)) {
    context.signal.throwIfAborted();
    digest.add(block);
    progress.at(block.offset);
  }
  progress.end();
  await part.source.assertUnchanged();
  return digest.hex();
}

async function createVolume(
  { client }: ClientSession,
  { name, node, size }: Import,
  { virtualBytes }: DiskContent,
  importDigest: string,
): Promise<VolumeRecord> {
  const least = Math.max(1, Math.ceil(virtualBytes / gibibyte));
  const sizeGiB = size === undefined ? least : parseGiB(size, "--size");
  if (sizeGiB < least) {
    throw notApplied(
      "INVALID_ARGUMENT",
      `--size: the disk has ${virtualBytes} bytes, and a volume of it ${least}G at least`,
    );
  }
  const where = node === undefined ? {} : { node: parseInteger(node, "--node", 1) };
  const { volume } = await client.volumes.create({ name, sizeGiB, importDigest, ...where });
  return volume;
}

interface Sending {
  readonly volume: VolumeRecord;
  readonly content: DiskContent;
  readonly part: Part;
}

/** From where the node is on to the end, and until the node has checked all of it. */
async function sendBlocks(
  session: ClientSession,
  find: VolumeSteps["find"],
  { volume, content, part }: Sending,
): Promise<void> {
  const { client, context } = session;
  const { name, volumeId, node } = volume;
  const { signal } = context;
  await goTo(session, node);
  const now = await find(session, name);
  if (now?.volumeId !== volumeId) throw new BlixardError("VOLUME_NOT_FOUND", `the volume ${name} was deleted`);
  // The answer to the last piece had got lost.
  if (now.importDigest === undefined) return;
  const { storedBytes } = await client.volumes.write({ name }, { signal });
  if (storedBytes > 0) say(context, `sending ${part.from}, from byte ${storedBytes} of the disk on`);
  const progress = new Progress(context, `sending ${part.from}`, content.virtualBytes, storedBytes);
  try {
    for await (const { offset, bytes } of joined(content.blocks(storedBytes))) {
      await client.volumes.write({ name, offset, data: bytes.toString("base64") }, { signal });
      progress.at(offset + bytes.length);
    }
  } finally {
    progress.end();
  }
  await part.source.assertUnchanged();
  await client.volumes.write({ name, last: true }, { signal, timeoutMs: finishMs });
}

/** Blocks that follow one another travel together. */
async function* joined(blocks: ReturnType<DiskContent["blocks"]>) {
  let pending: Buffer[] = [];
  let [begin, length] = [0, 0];
  const taken = () => {
    const piece = { offset: begin, bytes: Buffer.concat(pending) };
    pending = [];
    length = 0;
    return piece;
  };
  for await (const { offset, bytes } of blocks) {
    const follows = offset === begin + length && length + bytes.length <= limits.blobPieceBytesMax;
    if (length > 0 && !follows) yield taken();
    if (length === 0) begin = offset;
    pending.push(Buffer.from(bytes));
    length += bytes.length;
  }
  if (length > 0) yield taken();
}
