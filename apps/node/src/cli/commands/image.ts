/** `blixard image import|list|get|remove` */
import { createReadStream } from "node:fs";
import { access, constants, open, stat } from "node:fs/promises";
import type { BlixardClient } from "@blixard/client";
import { BlixardError, reasonOf } from "@blixard/common";
import type { ImageBlob, ImageRecord } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { print, printItem } from "../output.ts";
import { parseMemoryMiB } from "../quantities.ts";
import { showItem, showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { imageView } from "./views.ts";

type ImportOptions = ClientOptions & {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly disk?: string;
  readonly append?: string;
  readonly minMemory?: string;
};

export function registerImage(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  add(
    "import <name>",
    "store files as an image: a kernel with an optional initrd and an optional disk, or a disk that boots",
  )
    .option("--kernel <file>", "Linux bzImage, or an ELF kernel for multiboot")
    .option("--initrd <file>", "initial RAM disk for the kernel")
    .option("--disk <file>", "raw or qcow2 disk; with a kernel it need not boot by itself")
    .option("--append <text>", "command line of the kernel; no commas")
    .option("--min-memory <size>", "least memory of a VM with this image")
    .action((name: string, options: ImportOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const { image } = await importImage(context, client, name, options);
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
  withWatchOption(add("get <name>", "show one image")).action((name: string, options: WatchOptions) =>
    withClient(context, options, (session) =>
      showItem(session, options, imageView, () => session.client.images.get(name)),
    ),
  );
  add("remove <name>", "forget an image that no VM uses")
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

async function importImage(context: CliContext, client: BlixardClient, name: string, options: ImportOptions) {
  const files = (["kernel", "initrd", "disk"] as const).flatMap((role) => {
    const path = options[role];
    return path === undefined ? [] : [{ role, path }];
  });
  for (const { path } of files) await assertReadable(path);
  const format = await formatOf(options);
  if (options.kernel !== undefined) await inspect(options.kernel, format);
  if (options.disk !== undefined) await inspect(options.disk, "disk");
  const blobs: ImageBlob[] = [];
  const sources = new Set<number>();
  for (const { role, path } of files) {
    say(context, `uploading ${role} ${path}`);
    const { digest, sizeBytes, nodeId } = await client.images.uploadBlob(createReadStream(path));
    blobs.push({ role, digest, sizeBytes });
    sources.add(nodeId);
  }
  // All blobs must lie where the record says; a client with one address always reaches the same node.
  if (sources.size > 1) {
    throw new BlixardError("UNAVAILABLE", "the node changed during the upload", {
      hint: "Try again with one --address.",
    });
  }
  return await client.images.put({
    name,
    format,
    blobs,
    commandLine: options.append ?? "",
    minMemoryMiB: options.minMemory === undefined ? 0 : parseMemoryMiB(options.minMemory),
    sources: [...sources],
  });
}

/** Before anything is uploaded. @throws INVALID_ARGUMENT */
async function assertReadable(path: string): Promise<void> {
  try {
    await access(path, constants.R_OK);
    const stats = await stat(path);
    if (stats.isFile() || stats.isBlockDevice()) return;
    throw new Error(stats.isDirectory() ? "it is a directory" : "it is no file");
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `${path} cannot be read: ${reasonOf(error)}`, {
      cause: error,
      hint: "Give the path of an image that this user may read. It is read twice, so a pipe will not do.",
    });
  }
}

/** Refuses what the node would refuse when a VM starts. @throws INVALID_ARGUMENT */
async function inspect(path: string, format: ImageRecord["format"]): Promise<void> {
  const { inspectImage } = await import("@blixard/vm-manager");
  try {
    await inspectImage(path, format);
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `${path}: ${reasonOf(error)}`, { cause: error });
  }
}

async function formatOf(options: ImportOptions): Promise<ImageRecord["format"]> {
  if (options.kernel === undefined) {
    if (options.disk !== undefined && options.initrd === undefined) return "disk";
    throw new BlixardError("INVALID_ARGUMENT", "an image needs --kernel FILE, or a --disk FILE that boots by itself");
  }
  await using file = await open(options.kernel);
  const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
  return buffer.toString("latin1") === "\x7fELF" ? "multiboot" : "linux";
}
