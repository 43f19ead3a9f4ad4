/** `blixard capacity` and `blixard quota list|get|set|remove` */
import { BlixardError } from "@blixard/common";
import type { LostVm, NodeRoom, Quota, QuotaView } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { nodeIdOf } from "../node-name.ts";
import { print, printItem, printList, type View } from "../output.ts";
import { formatMemory, parseInteger, parseMemoryMiB } from "../quantities.ts";
import { formatTable } from "../table.ts";

type CapacityOptions = ClientOptions & { readonly ifLost?: string };
type QuotaOptions = ClientOptions & {
  readonly vms?: string;
  readonly vcpus?: string;
  readonly memory?: string;
  readonly disk?: string;
};

export function registerCapacity(command: Command, context: CliContext): void {
  withClientOptions(command)
    .option("--if-lost <node>", "also what would become of the VMs of a node without it")
    .action((options: CapacityOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const ifLost = options.ifLost === undefined ? {} : { ifLost: await nodeIdOf(client, options.ifLost) };
        const report = await client.capacity.get(ifLost);
        const { nodes, waiting, lost } = report;
        const waits = waiting.length === 0 ? "" : `\nWaiting for room: ${waiting.join(", ")}\n`;
        const without = lost === undefined ? "" : `\n${lostTable(lost)}`;
        await print(context, format, report, () => `${roomTable(nodes)}${waits}${without}`, nodes.map(nameOf));
      }),
    );
}

const nameOf = ({ nodeId }: NodeRoom) => String(nodeId);

function roomTable(nodes: readonly NodeRoom[]): string {
  const rows = nodes.map(({ nodeId, vms, vcpus, memoryMiB, diskMiB, closed }) => [
    ...[String(nodeId), String(vms), `${vcpus.used} of ${vcpus.allowed}`, partOf(memoryMiB)],
    ...[diskMiB === undefined ? "-" : partOf(diskMiB), closed ?? "-"],
  ]);
  return formatTable(["NODE", "VMS", "VCPUS", "MEMORY", "DISKS PROMISED", "CLOSED"], rows);
}

function partOf({ used, allowed }: NodeRoom["memoryMiB"]): string {
  return `${formatMemory(used)} of ${formatMemory(allowed)}`;
}

function lostTable(vms: readonly LostVm[]): string {
  if (vms.length === 0) return "No VM runs there.\n";
  const rows = vms.map(({ vm, becomes, to, why }) => [vm, becomes, to === undefined ? "-" : String(to), why]);
  return formatTable(["VM", "BECOMES", "TO", "WHY"], rows);
}

const quotaView: View<QuotaView> = {
  name: ({ project }) => project,
  columns: [
    { title: "PROJECT", value: ({ project }) => project },
    { title: "VMS", value: ({ used, quota }) => limited(used.vms, quota.vms) },
    { title: "VCPUS", value: ({ used, quota }) => limited(used.vcpus, quota.vcpus) },
    { title: "MEMORY", value: ({ used, quota }) => limited(used.memoryMiB, quota.memoryMiB, formatMemory) },
    { title: "DISKS", value: ({ used, quota }) => limited(used.diskMiB, quota.diskMiB, formatMemory) },
  ],
};

function limited(used: number, allowed: number | undefined, text: (amount: number) => string = String): string {
  return allowed === undefined ? text(used) : `${text(used)} of ${text(allowed)}`;
}

export function registerQuota(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  add("list", "what the VMs with a label project=NAME may take, and what they take")
    .alias("ls")
    .action((options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) =>
        printList(context, format, quotaView, await client.quotas.list()),
      ),
    );
  add("get <project>", "show one quota").action((project: string, options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) => {
      const found = (await client.quotas.list()).find((each) => each.project === project);
      if (found === undefined) throw new BlixardError("NOT_FOUND", `the project ${project} has no quota`);
      await printItem(context, format, quotaView, found);
    }),
  );
  add("set <project>", "limit what the VMs of a project may take; what is not named is not limited")
    .option("--vms <n>", "VMs, whether they run or not")
    .option("--vcpus <n>", "virtual CPUs")
    .option("--memory <size>", "for example 16G")
    .option("--disk <size>", "of their disks; volumes do not count")
    .action((project: string, options: QuotaOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const quota = quotaOf(options);
        const written = await client.quotas.set(project, quota);
        say(context, "A VM belongs to the project that its creator says: --label project=NAME.");
        await print(context, format, written, () => `${project} limited\n`, [project]);
      }),
    );
  add("remove <project>", "take the quota of a project away").action((project: string, options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) => {
      const written = await client.quotas.remove(project);
      await print(context, format, written, () => `${project} has no quota\n`, [project]);
    }),
  );
}

function quotaOf({ vms, vcpus, memory, disk }: QuotaOptions): Quota {
  return {
    ...(vms === undefined ? {} : { vms: parseInteger(vms, "--vms") }),
    ...(vcpus === undefined ? {} : { vcpus: parseInteger(vcpus, "--vcpus") }),
    ...(memory === undefined ? {} : { memoryMiB: parseMemoryMiB(memory) }),
    ...(disk === undefined ? {} : { diskMiB: parseMemoryMiB(disk) }),
  };
}
