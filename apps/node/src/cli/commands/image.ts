/** `blixard image import|list|get|export|pin|unpin|gc|remove` */
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import type { BlixardClient } from "@blixard/client";
import { BlixardError } from "@blixard/common";
import type { ImageBlob, ImageFormat } from "@blixard/protocol";
import { type DiskSourceFormat, diskSourceFormats, FileSource, looksLikeIso } from "@blixard/vm-manager/images";
import { type Command, Option } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { download, isUrl } from "../image-import/download.ts";
import { assertChecksum, digestOf, openPart, type Part, type PartWish } from "../image-import/parts.ts";
import { Progress } from "../image-import/progress.ts";
import { upload } from "../image-import/upload.ts";
import { createFile } from "../new-file.ts";
import { print, printItem } from "../output.ts";
import { parseDurationMs, parseMemoryMiB } from "../quantities.ts";
import { showItem, showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { collectedText } from "./image-collected.ts";
import { imageView } from "./views.ts";

type ImportOptions = ClientOptions & {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly disk?: string;
  readonly append?: string;
  readonly minMemory?: string;
  readonly format?: DiskSourceFormat | "iso";
  readonly checksum?: string;
  readonly onNode?: boolean;
};
type ExportOptions = ClientOptions & { readonly role?: ImageBlob["role"] };
type CollectOptions = ClientOptions & {
  readonly dryRun?: boolean;
  readonly unused?: boolean;
  readonly olderThan?: string;
  readonly yes?: boolean;
};

export function registerImage(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  add(
    "import <name> [file-or-url]",
    "store a disk as an image, or a kernel with an optional initrd and an optional disk; goes on where it stopped",
  )
    .option("--kernel <file>", "Linux bzImage, or an ELF kernel for multiboot")
    .option("--initrd <file>", "initial RAM disk for the kernel")
    .option("--disk <file>", "raw, qcow2, vmdk or OVA; with a kernel it need not boot by itself")
    .addOption(
      new Option(
        "--format <format>",
        "what the disk is (default: what it shows; raw has to be said without a sign of one, and for a disk that is a disc as well)",
      ).choices([...diskSourceFormats, "iso"]),
    )
    .option("--checksum <sha256:digest>", "of the disk as it is given, or of the kernel where there is no disk")
    .option("--on-node", "let the node fetch the URL, from the public Internet alone; needs the role admin")
    .option("--append <text>", "command line of the kernel; no commas")
    .option("--min-memory <size>", "least memory of a VM with this image")
    .action((name: string, from: string | undefined, options: ImportOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const given = withSource(options, from);
        const { image } = await (options.onNode === true ? importOnNode : importImage)(context, client, name, given);
        await printItem(context, format, imageView, image);
      }),
    );
  withWatchOption(add("list", "list images"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, imageView, () => session.client.images.list()),
      ),
    );
  withWatchOption(add("get <name>", "show one image, and the nodes that hold it")).action(
    (name: string, options: WatchOptions) =>
      withClient(context, options, (session) =>
        showItem(session, options, imageView, () => session.client.images.get(name)),
      ),
  );
  add("export <name> <file>", "write the disk of an image to a file, or another part of it")
    .addOption(
      new Option("--role <role>", "which part (default: its disk, or its kernel)").choices([
        "kernel",
        "initrd",
        "disk",
        "iso",
      ]),
    )
    .action((name: string, file: string, options: ExportOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const { blob, path } = await exportImage(context, client, { name, file, ...options });
        await print(context, format, { name, file: path, ...blob }, () => `image ${name} written to ${path}\n`, [path]);
      }),
    );
  for (const [verb, pinned, summary] of [
    ["pin", true, "keep an image: it is neither removed nor collected"],
    ["unpin", false, "let an image be removed and collected again"],
  ] as const) {
    add(`${verb} <name>`, summary).action((name: string, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const { image } = await client.images.pin(name, pinned);
        await printItem(context, format, imageView, image);
      }),
    );
  }
  add("gc", "let go what the image stores of the nodes hold and no image names")
    .option("--dry-run", "only say what would go")
    .option("--unused", "first forget the images that no VM uses and that are not pinned")
    .option("--older-than <time>", "only what is older (default: 1h)")
    .option("--yes", "do not ask")
    .action((options: CollectOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const { dryRun = false, unused = false, olderThan } = options;
        if (unused && !dryRun) await confirm(context, "Forget all images that no VM uses?", options.yes);
        const minAge = olderThan === undefined ? {} : { minAgeMs: parseDurationMs(olderThan) };
        const collected = await client.images.collect({ dryRun, unused, ...minAge });
        const names = collected.nodes.flatMap(({ blobs }) => blobs.map(({ digest }) => digest));
        await print(context, format, collected, () => collectedText(collected, dryRun), [
          ...collected.images,
          ...names,
        ]);
      }),
    );
  add("remove <name>", "forget an image that no VM uses and that is not pinned")
    .alias("rm")
    .option("--yes", "do not ask")
    .action((name: string, options: ClientOptions & { readonly yes?: boolean }) =>
      withClient(context, options, async ({ client, format }) => {
        await confirm(context, `Remove the image ${name}?`, options.yes);
        const written = await client.images.remove(name);
        await print(context, format, written, () => `image ${name} removed\n`, [name]);
      }),
    );
}

/** A file or URL without an option before it is a disk. */
function withSource(options: ImportOptions, from: string | undefined): ImportOptions {
  if (from === undefined) return options;
  if (options.disk === undefined) return { ...options, disk: from };
  throw new BlixardError("INVALID_ARGUMENT", "give the disk once: as FILE-OR-URL, or with --disk");
}

/** One disk, raw or qcow2: what a node fetches is not converted. */
async function importOnNode(context: CliContext, client: BlixardClient, name: string, options: ImportOptions) {
  const { disk, kernel, format, checksum, append, minMemory } = options;
  if (disk === undefined || !isUrl(disk) || kernel !== undefined || append !== undefined) {
    throw new BlixardError("INVALID_ARGUMENT", "--on-node takes the URL of one disk that boots by itself");
  }
  if (format === "vmdk" || format === "ova") {
    throw new BlixardError("INVALID_ARGUMENT", `a node converts no ${format}; import it without --on-node`);
  }
  const wished = checksum === undefined ? {} : { digest: parseChecksum(checksum) };
  const request = { url: disk, ...wished, ...(format === "raw" ? { raw: true } : {}) };
  for (;;) {
    const { digest, nodeId, receivedBytes, sizeBytes } = await client.images.fetchBlob(request, {
      signal: context.signal,
    });
    if (digest === null || sizeBytes === null) {
      say(context, `node ${nodeId} has ${receivedBytes} of ${sizeBytes ?? "an unknown number of"} bytes`);
      continue;
    }
    const minMemoryMiB = minMemory === undefined ? 0 : parseMemoryMiB(minMemory);
    const stored = { digest, sizeBytes };
    const blob: ImageBlob =
      format === "iso" ? { role: "iso", ...stored } : { role: "disk", ...stored, ...(format && { format }) };
    const kind = format === "iso" ? "iso" : "disk";
    return await client.images.put({ name, format: kind, blobs: [blob], minMemoryMiB, sources: [nodeId] });
  }
}

async function importImage(context: CliContext, client: BlixardClient, name: string, options: ImportOptions) {
  const expected = options.checksum === undefined ? undefined : parseChecksum(options.checksum);
  const format = await formatOf(context, options);
  const wishes: PartWish[] = (["kernel", "initrd", "disk"] as const).flatMap((role) => {
    const from = options[role];
    return from === undefined ? [] : [{ role: role === "disk" && format === "iso" ? "iso" : role, from }];
  });
  const parts: Part[] = [];
  try {
    const diskFormat = options.format === "iso" ? undefined : options.format;
    for (const wish of wishes) parts.push(await openPart(context, wish, { format, diskFormat }));
    const checked = parts.at(-1);
    if (expected !== undefined && checked !== undefined) await assertChecksum(context, checked, expected);
    const digests: string[] = [];
    for (const part of parts) digests.push(await digestOf(context, part));
    const blobs: ImageBlob[] = [];
    const sources = new Set<number>();
    for (const [at, part] of parts.entries()) {
      const digest = digests[at] ?? "";
      const { nodeId, sizeBytes } = await upload(context, client, part, digest);
      // Nodes that keep formats say so in what they answer; those of before refuse a field that they do not know.
      blobs.push({ role: part.role, digest, sizeBytes, ...(part.raw ? { format: "raw" as const } : {}) });
      sources.add(nodeId);
    }
    assertOneNode(sources);
    const minMemoryMiB = options.minMemory === undefined ? 0 : parseMemoryMiB(options.minMemory);
    const record = { name, format, blobs, commandLine: options.append ?? "", minMemoryMiB, sources: [...sources] };
    const written = await client.images.put(record);
    for (const part of parts) await part.forget();
    return written;
  } finally {
    for (const { source } of parts) await source[Symbol.asyncDispose]();
  }
}

/** All blobs must lie where the record says; a client with one address always reaches the same node. */
function assertOneNode(sources: ReadonlySet<number>): void {
  if (sources.size <= 1) return;
  throw new BlixardError("UNAVAILABLE", "the node changed during the upload", {
    hint: "Try again with one --address.",
  });
}

async function formatOf(context: CliContext, options: ImportOptions): Promise<ImageFormat> {
  const { kernel, disk, initrd } = options;
  if (kernel === undefined) {
    if (disk !== undefined && initrd === undefined) return await diskOrDisc(context, disk, options.format);
    throw new BlixardError("INVALID_ARGUMENT", "an image needs --kernel FILE, or a disk that boots by itself");
  }
  if (options.format === "iso") {
    throw new BlixardError("INVALID_ARGUMENT", "--format iso: an ISO image has no kernel beside it");
  }
  await using file = await FileSource.open(isUrl(kernel) ? (await download(context, kernel)).path : kernel);
  const head = await file.read(0, Math.min(4, file.sizeBytes));
  return new TextDecoder("latin1").decode(head) === "\x7fELF" ? "multiboot" : "linux";
}

/** Many a disc is a disk with partitions as well: it is a disc, unless somebody says otherwise. */
async function diskOrDisc(context: CliContext, from: string, format: ImportOptions["format"]): Promise<"disk" | "iso"> {
  if (format !== undefined) return format === "iso" ? "iso" : "disk";
  await using file = await FileSource.open(isUrl(from) ? (await download(context, from)).path : from);
  return (await looksLikeIso(file)) ? "iso" : "disk";
}

export function parseChecksum(text: string): string {
  const digest = /^sha256:([0-9a-f]{64})$/i.exec(text)?.[1];
  if (digest !== undefined) return digest.toLowerCase();
  throw new BlixardError("INVALID_ARGUMENT", `--checksum: ${text} is no sha256:DIGEST`);
}

interface Export {
  readonly name: string;
  readonly file: string;
  readonly role?: ImageBlob["role"];
}

/** Never writes over a file, and leaves none behind that has not the digest that the image says. */
async function exportImage(context: CliContext, client: BlixardClient, { name, file, role }: Export) {
  const { blobs } = await client.images.get(name);
  const wanted = role === undefined ? (blobs.find((part) => part.role === "disk") ?? blobs[0]) : undefined;
  const blob = wanted ?? blobs.find((part) => part.role === role);
  if (blob === undefined) throw new BlixardError("NOT_FOUND", `the image ${name} has no ${role ?? "part"}`);
  const progress = new Progress(context, `writing ${file}`, blob.sizeBytes);
  const out = await createFile(file);
  try {
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const piece of client.images.readWhole(blob.digest, { signal: context.signal })) {
      hash.update(piece);
      await out.writeFile(piece);
      bytes += piece.length;
      progress.at(bytes);
    }
    if (hash.digest("hex") !== blob.digest) {
      throw new BlixardError("STORAGE_CORRUPT", `what came of the image ${name} has another digest`);
    }
    await out.sync();
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    progress.end();
    await out.close();
  }
  say(
    context,
    `the ${blob.role} has ${blob.sizeBytes} bytes${blob.format === undefined ? "" : `, format ${blob.format}`}`,
  );
  return { blob, path: file };
}
