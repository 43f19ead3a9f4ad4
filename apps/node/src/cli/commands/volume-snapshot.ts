/** `blixard volume snapshot create|list|restore|delete` */
import { BlixardError } from "@blixard/common";
import type { VolumeRecord } from "@blixard/protocol";
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { printItem } from "../output.ts";
import { showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { snapshotView, volumeView } from "./views.ts";

type Options = ClientOptions & { readonly detach?: boolean; readonly yes?: boolean };

/** `waitFor` resolves with the volume when it is as it is to be. */
interface SnapshotSteps {
  waitFor(
    session: ClientSession,
    volume: VolumeRecord,
    holds: (seen: VolumeRecord | undefined) => boolean,
  ): Promise<VolumeRecord | undefined>;
}

export function registerVolumeSnapshot(command: Command, context: CliContext, { waitFor }: SnapshotSteps): void {
  const snapshot = command.command("snapshot").description("what volumes held at a time");
  const add = (usage: string, summary: string) => withClientOptions(snapshot.command(usage).description(summary));
  const write = (usage: string, summary: string) =>
    add(usage, summary).option("--detach", "do not wait for the result");

  /** Until the node has done it, or has said why it could not. */
  async function finish(session: ClientSession, changed: VolumeRecord, { detach }: Options): Promise<void> {
    const isDone = (seen: VolumeRecord | undefined) => seen === undefined || !isBusy(seen);
    const volume = detach === true ? changed : ((await waitFor(session, changed, isDone)) ?? changed);
    await printItem(session.context, session.format, volumeView, volume);
    if (volume.problem === undefined || detach === true) return;
    throw new BlixardError("STORAGE_FAILED", `node ${volume.node} could not do it: ${volume.problem}`, {
      hint: "The volume is as it was. Free some room there, or see the log of the node.",
    });
  }

  write("create <volume> <name>", "keep what is on a volume, also while a VM runs with it").action(
    (volume: string, name: string, options: Options) =>
      withClient(context, options, async (session) => {
        const written = await session.client.volumes.createSnapshot(volume, name);
        await finish(session, written.volume, options);
      }),
  );
  withWatchOption(add("list <volume>", "list the snapshots of a volume"))
    .alias("ls")
    .action((volume: string, options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, snapshotView, async () => {
          const { snapshots = [] } = await session.client.volumes.get(volume);
          return [...snapshots];
        }),
      ),
    );
  write("restore <volume> <name>", "give a volume that no VM runs with what it held then")
    .option("--yes", "do not ask")
    .action((volume: string, name: string, options: Options) =>
      withClient(context, options, async (session) => {
        await confirm(context, `Give up what is on the volume ${volume} now?`, options.yes);
        const written = await session.client.volumes.restoreSnapshot(volume, name);
        await finish(session, written.volume, options);
      }),
    );
  write("delete <volume> <name>", "delete a snapshot of a volume")
    .alias("rm")
    .option("--yes", "do not ask")
    .action((volume: string, name: string, options: Options) =>
      withClient(context, options, async (session) => {
        await confirm(context, `Delete the snapshot ${name} of the volume ${volume}?`, options.yes);
        const written = await session.client.volumes.deleteSnapshot(volume, name);
        await finish(session, written.volume, options);
      }),
    );
}

function isBusy({ state, snapshots = [], restoring }: VolumeRecord): boolean {
  return state === "pending" || restoring !== undefined || snapshots.some((each) => each.state !== "ready");
}
