/** `blixard volume create|clone|export|import|snapshot|list|get|resize|attach|detach|move|delete` */
import type { BlixardClient } from "@blixard/client";
import { BlixardError, errorCodeOf, notApplied, pauseFor } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { VmRecord, VolumeRecord } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { nodeIdOf } from "../node-name.ts";
import { print, printItem } from "../output.ts";
import { parseDurationMs, parseInteger } from "../quantities.ts";
import { showItem, showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { finishOperation, type WaitingOptions } from "./operation-views.ts";
import { volumeView } from "./views.ts";
import { finishDisk } from "./vm-disk.ts";
import { parseGiB } from "./vm-disks.ts";
import { registerVolumeFiles } from "./volume-files.ts";
import { registerVolumeSnapshot } from "./volume-snapshot.ts";

type WriteOptions = ClientOptions & { readonly detach?: boolean; readonly ifMatch?: string };
type CreateOptions = WriteOptions & { readonly size: string; readonly node?: string };

const waitMsDefault = 60_000;
/** Of a large volume. */
const copyMsDefault = 3_600_000;
const pollMs = 100;

export function registerVolume(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  const write = (usage: string, summary: string) =>
    add(usage, summary)
      .option("--detach", "do not wait for the result")
      .option("--if-match <index>", "only if the volume was last changed at this index");
  write("create <name>", "make an empty volume on a node")
    .requiredOption("--size <size>", "for example 8G")
    .option("--node <id>", "where (default: the node with the fewest volumes)")
    .action((name: string, options: CreateOptions) =>
      withClient(context, options, async (session) => {
        const node = options.node === undefined ? {} : { node: parseInteger(options.node, "--node", 1) };
        const request = { name, sizeGiB: parseGiB(options.size, "--size"), ...node };
        const { volume } = await session.client.volumes.create(request, ifMatch(options));
        await finish(session, volume, options);
      }),
    );
  write("clone <source> <name>", "make a volume as a copy of one that no VM runs with, on the same node")
    .option("--size <size>", "for example 16G (default: that of the source)")
    .action((source: string, name: string, options: WriteOptions & { readonly size?: string }) =>
      withClient(context, options, async (session) => {
        const { size } = options;
        const { volumes } = session.client;
        const sizeGiB = size === undefined ? (await volumes.get(source)).sizeGiB : parseGiB(size, "--size");
        const { volume } = await volumes.create({ name, sizeGiB, source }, ifMatch(options));
        await finish({ ...session, timeoutMs: session.timeoutMs ?? copyMsDefault }, volume, options);
      }),
    );
  registerVolumeFiles(command, context, {
    finish: (session, volume) => finish(session, volume, {}),
    find: ({ client }, name) => find(client, name),
  });
  registerVolumeSnapshot(command, context, {
    waitFor: (session, volume, holds) =>
      waitFor({ ...session, timeoutMs: session.timeoutMs ?? copyMsDefault }, volume, holds),
  });
  withWatchOption(add("list", "list volumes"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, volumeView, () => session.client.volumes.list()),
      ),
    );
  withWatchOption(add("get <name>", "show one volume")).action((name: string, options: WatchOptions) =>
    withClient(context, options, (session) =>
      showItem(session, options, volumeView, () => session.client.volumes.get(name)),
    ),
  );
  write("resize <name>", "make a volume larger, also while a VM runs with it")
    .requiredOption("--size <size>", "for example 16G")
    .action((name: string, options: CreateOptions) =>
      withClient(context, options, async (session) => {
        const request = { name, sizeGiB: parseGiB(options.size, "--size") };
        const { volume } = await session.client.volumes.resize(request, ifMatch(options));
        await finish(session, volume, options);
      }),
    );
  add("attach <volume> <vm>", "give a volume to a VM as a disk, at once where its driver can")
    .option("--name <disk>", "how the VM knows it (default: the name of the volume)")
    .option("--detach", "do not wait for the result")
    .action((volume: string, vm: string, options: WriteOptions & { readonly name?: string }) =>
      withClient(context, options, async (session) => {
        const disk = options.name ?? volume;
        const { vm: changed } = await session.client.vms.attachDisk({ name: vm, disk, volume });
        await finishDisk(session, changed, { disk, ...options });
      }),
    );
  add("detach <volume>", "take a volume from its VM, at once where its driver can")
    .option("--detach", "do not wait for the result")
    .action((volume: string, options: WriteOptions) =>
      withClient(context, options, async (session) => {
        const { attachedTo } = await session.client.volumes.get(volume);
        if (attachedTo === null) throw notApplied("CONFLICT", `no VM has the volume ${volume}`);
        const vm = await session.client.vms.get(attachedTo);
        const disk = diskOf(vm, volume);
        const { vm: changed } = await session.client.vms.detachDisk({ name: vm.name, disk });
        await finishDisk(session, changed, { disk, ...options });
      }),
    );
  registerMove(command, context);
  write("delete <name>", "delete a volume that no VM has, with its snapshots")
    .alias("rm")
    .option("--yes", "do not ask")
    .action((name: string, options: WriteOptions & { readonly yes?: boolean }) =>
      withClient(context, options, async (session) => {
        const { client, format } = session;
        await confirm(context, `Delete the volume ${name} with all that is on it?`, options.yes);
        const { volume } = await client.volumes.delete(name, ifMatch(options));
        if (options.detach !== true) await waitFor(session, volume, (seen) => seen === undefined);
        const text = () => `${name} ${options.detach === true ? "is being deleted" : "deleted"}\n`;
        await print(context, format, { name, volumeId: volume.volumeId, deleted: options.detach !== true }, text, [
          name,
        ]);
      }),
    );
}

function registerMove(command: Command, context: CliContext): void {
  withClientOptions(
    command.command("move <name>").description("take a volume that no VM has to another node, with its snapshots"),
  )
    .requiredOption("--to <node>", "where it goes")
    .option("--deadline <time>", "give up when it is not done by then; it stays where it was (default 24h)")
    .option("--detach", "do not wait; see blixard operations")
    .action((name: string, options: WaitingOptions & { readonly to: string; readonly deadline?: string }) =>
      withClient(context, options, async (session) => {
        const { client } = session;
        const { operation } = await client.volumes.move({
          ...{ name, to: await nodeIdOf(client, options.to) },
          ...(options.deadline === undefined ? {} : { deadlineMs: parseDurationMs(options.deadline) }),
        });
        await finishOperation(session, operation, options, ({ to }) => `${name} is on node ${to}\n`);
      }),
    );
}

/** @throws CONFLICT */
function diskOf({ name, spec: { disks = [] }, detaching = [] }: VmRecord, volume: string): string {
  const disk = disks.find((candidate) => candidate.volume === volume)?.name;
  const leaving = detaching.find((candidate) => candidate.volume === volume)?.disk;
  if (disk !== undefined || leaving !== undefined) return disk ?? leaving ?? "";
  throw notApplied("CONFLICT", `the VM ${name} does not name the volume ${volume} any more`, { hint: "Try again." });
}

function ifMatch({ ifMatch: index }: WriteOptions): { readonly ifMatchIndex?: number } {
  return index === undefined ? {} : { ifMatchIndex: parseInteger(index, "--if-match") };
}

/** Waits until the node of the volume has made it, unless asked not to, and prints it. */
async function finish(session: ClientSession, volume: VolumeRecord, options: WriteOptions): Promise<void> {
  const { context, format } = session;
  const isThere = (seen: VolumeRecord | undefined) => seen?.state !== "pending";
  const reached = options.detach === true ? volume : await waitFor(session, volume, isThere);
  if (reached?.state === "missing") say(context, `${volume.name}: its file is not on node ${volume.node} any more`);
  await printItem(context, format, volumeView, reached ?? volume);
}

/** Undefined stands for a volume that is gone. @throws DEADLINE_EXCEEDED */
async function waitFor(
  { client, context, timeoutMs = waitMsDefault }: ClientSession,
  { name, volumeId, node }: VolumeRecord,
  holds: (seen: VolumeRecord | undefined) => boolean,
): Promise<VolumeRecord | undefined> {
  const untilMs = systemClock.monotonicMs() + timeoutMs;
  for (;;) {
    const seen = await find(client, name);
    const same = seen?.volumeId === volumeId ? seen : undefined;
    if (holds(same)) return same;
    if (systemClock.monotonicMs() >= untilMs) {
      throw new BlixardError("DEADLINE_EXCEEDED", `the volume ${name} is still ${same?.state ?? "gone"}`, {
        hint: `Node ${node} has to do it. See: blixard volume get ${name}; blixard nodes list`,
      });
    }
    await pauseFor(systemClock, pollMs, context.signal);
    context.signal?.throwIfAborted();
  }
}

async function find(client: BlixardClient, name: string): Promise<VolumeRecord | undefined> {
  try {
    return await client.volumes.get(name);
  } catch (error) {
    if (errorCodeOf(error) === "VOLUME_NOT_FOUND") return undefined;
    throw error;
  }
}
