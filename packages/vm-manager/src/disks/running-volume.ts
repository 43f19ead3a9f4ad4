/** A copy of a volume with which a VM runs: its process makes it in the directory of the VM, and it is taken from there. */
import { chown, open, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { BlixardError, type Clock } from "@blixard/common";
import { renameDurable } from "@blixard/common/system";
import type { VolumeSnapshot } from "@blixard/protocol";
import { whileFrozen } from "../agent/file-system-freeze.ts";
import type { VmInstance } from "../driver.ts";

export interface CopyOptions {
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
}

/** The guest as it was at the end of the copy. */
export type CopiedAs = Exclude<NonNullable<VolumeSnapshot["shows"]>, "stopped">;

/** Copies a volume to another place while a VM runs with it; undefined when none does. @throws CONFLICT when it is to be tried again */
export type CopyRunning = (volumeId: string, to: string, options: CopyOptions) => Promise<CopiedAs | undefined>;

interface RunningVm {
  readonly clock: Clock;
  readonly slot: {
    readonly instance: Pick<VmInstance, "disks" | "state" | "agent">;
    /** Its value is undefined while no agent answers. */
    readonly agentView: { readonly value: unknown };
  };
  readonly directory: string;
  /** The user of the process; undefined: that of the manager. */
  readonly uid: number | undefined;
}

/** @throws UNSUPPORTED, CONFLICT, STORAGE_FAILED, DEADLINE_EXCEEDED */
export async function copyRunningVolume(
  { clock, slot, directory, uid }: RunningVm,
  { name, to }: { readonly name: string; readonly to: string },
  { sizeBytes, signal }: CopyOptions,
): Promise<CopiedAs> {
  const { disks, state, agent } = slot.instance;
  if (disks === undefined) throw new BlixardError("UNSUPPORTED", "the driver of the VM copies no disks while it runs");
  if (!answering.has(state.value.type)) throw new BlixardError("CONFLICT", "the VM does not answer");
  const found = (await disks.list()).find((disk) => disk.name === name);
  if (found === undefined) throw new BlixardError("CONFLICT", "the VM does not have the disk yet");
  const path = join(directory, `volume-${name}.copy`);
  await rm(path, { force: true });
  await makeFile(path, found.sizeBytes, uid);
  let isFrozen = false;
  try {
    await disks.copy(
      { name, file: basename(path) },
      {
        signal,
        atEnd: async (finish) => {
          const answers = slot.agentView.value !== undefined && state.value.type === "running";
          if (agent === undefined || !answers) await finish();
          else isFrozen = await whileFrozen({ clock, agent, directory }, { work: finish, signal });
        },
      },
    );
    await takeFile(path, sizeBytes, uid);
    await renameDurable(path, to);
  } catch (error) {
    await rm(path, { force: true });
    // What ended with its VM is done without it, or with the next process. That says so later than its commands fail.
    const limit = { clock, delayMs: signal.aborted ? 0 : endedMs };
    const { type } = await state.until((seen) => !answering.has(seen.type), { limit });
    throw answering.has(type) ? error : new BlixardError("CONFLICT", "the VM has ended", { cause: error });
  }
  return isFrozen ? "frozen" : "running";
}

async function makeFile(path: string, sizeBytes: number, uid: number | undefined): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
  if (uid !== undefined) await chown(path, uid, uid);
}

/** The manager's own again, as large as it is to be, and durable. */
async function takeFile(path: string, sizeBytes: number, uid: number | undefined): Promise<void> {
  if (uid !== undefined) await chown(path, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  const file = await open(path, "r+");
  try {
    if ((await file.stat()).size < sizeBytes) await file.truncate(sizeBytes);
    await file.chmod(0o600);
    await file.sync();
  } finally {
    await file.close();
  }
}

const endedMs = 3_000;

/** States in which a process makes a copy. */
const answering: ReadonlySet<string> = new Set(["running", "paused", "io-error"]);
