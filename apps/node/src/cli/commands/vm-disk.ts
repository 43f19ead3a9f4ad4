/** `blixard vm disk resize|limit`, and what is waited for when the disks of a VM change. */
import { BlixardError, pauseFor } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { VmRecord } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { printItem } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { vmView } from "./views.ts";
import { disksTable, parseGiB, parseRate } from "./vm-disks.ts";

/** A guest has 15 s to let go of a disk. */
const waitMsDefault = 60_000;
const pollMs = 100;

type LimitOptions = ClientOptions & { readonly detach?: boolean; readonly iops?: string; readonly rate?: string };
type DiskOptions = ClientOptions & { readonly detach?: boolean; readonly size: string };

export function registerDisk(command: Command, context: CliContext): void {
  const disk = command.command("disk").description("the disks of a VM that exists");
  withClientOptions(disk.command("resize <name> <disk>").description("make a disk of a VM larger, also while it runs"))
    .requiredOption("--size <size>", "for example 16G")
    .option("--detach", "do not wait for the result")
    .action((name: string, diskName: string, options: DiskOptions) =>
      withClient(context, options, async (session) => {
        const sizeGiB = parseGiB(options.size, "--size");
        const { vm } = await session.client.vms.changeDisk({ name, disk: diskName, sizeGiB });
        await finishDisk(session, vm, { disk: diskName, ...options });
      }),
    );
  withClientOptions(disk.command("limit <name> <disk>").description("limit what a guest does with a disk in a second"))
    .option("--iops <number>", "reads and writes, or none")
    .option("--rate <size>", "bytes, for example 50M, or none")
    .option("--detach", "do not wait for the result")
    .action((name: string, diskName: string, options: LimitOptions) =>
      withClient(context, options, async (session) => {
        const { vm } = await session.client.vms.changeDisk({ name, disk: diskName, ...limitsOf(options) });
        await finishDisk(session, vm, { disk: diskName, ...options });
      }),
    );
}

/** @throws INVALID_ARGUMENT */
function limitsOf({ iops, rate }: LimitOptions) {
  if (iops === undefined && rate === undefined) {
    throw new BlixardError("INVALID_ARGUMENT", "say --iops NUMBER, --rate SIZE or both");
  }
  return {
    ...(iops === undefined ? {} : { iops: iops === "none" ? null : parseInteger(iops, "--iops", 1) }),
    ...(rate === undefined ? {} : { bytesPerSecond: rate === "none" ? null : parseRate(rate) }),
  };
}

/**
 * Waits until the node of a VM that runs has done what was asked for, unless asked not to, and prints the VM.
 * @throws UNAVAILABLE when it could not, DEADLINE_EXCEEDED
 */
export async function finishDisk(
  session: ClientSession,
  vm: VmRecord,
  { disk, detach = false }: { readonly disk: string; readonly detach?: boolean },
): Promise<void> {
  const { client, context, format, timeoutMs = waitMsDefault } = session;
  const untilMs = systemClock.monotonicMs() + timeoutMs;
  let seen = vm;
  while (!detach && runs(seen) && (seen.guestDisks?.index ?? -1) < (vm.disksIndex ?? 0)) {
    if (systemClock.monotonicMs() >= untilMs) {
      throw new BlixardError("DEADLINE_EXCEEDED", `node ${seen.node} has not said that the disk ${disk} is done`, {
        hint: `It goes on. See: blixard vm get ${vm.name}`,
      });
    }
    await pauseFor(systemClock, pollMs, context.signal);
    context.signal?.throwIfAborted();
    seen = await client.vms.get(vm.name);
    if (seen.vmId !== vm.vmId) throw new BlixardError("VM_NOT_FOUND", `the VM ${vm.name} was deleted meanwhile`);
  }
  const problem = seen.conditions.find(({ reason }) => reason === "NotAsWanted");
  if (!detach && problem?.message.includes(`the disk ${disk} `)) {
    throw new BlixardError("UNAVAILABLE", `${vm.name}: ${problem.message}`, {
      hint: `The node tries it again, and it is done when the VM stops: blixard vm stop ${vm.name}`,
    });
  }
  if (seen.node !== null && !runs(seen))
    say(context, `${vm.name} does not run: it finds its disks so at its next start`);
  await printItem(context, format, vmView, seen, disksTable);
}

function runs({ phase }: VmRecord): boolean {
  return phase === "Running" || phase === "Paused" || phase === "Starting" || phase === "Preparing";
}
