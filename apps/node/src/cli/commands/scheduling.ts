/** `blixard cluster scheduling` */
import { BlixardError } from "@blixard/common";
import type { Scheduling } from "@blixard/protocol";
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { print } from "../output.ts";

type SchedulingOptions = ClientOptions & {
  readonly strategy?: string;
  readonly vcpuOvercommit?: string;
  readonly diskOvercommit?: string;
};

export function addScheduling(command: Command, context: CliContext): void {
  withClientOptions(command.command("scheduling").description("how VMs are placed: show it, or change it"))
    .option("--strategy <spread|binpack>", "VMs over the nodes, or as few nodes as will do")
    .option("--vcpu-overcommit <factor>", "virtual CPUs that one processor of a node may carry")
    .option("--disk-overcommit <factor>", "times the file system of a node that may be promised to disks and volumes")
    .action((options: SchedulingOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const wish = wishOf(options);
        const isChange = Object.keys(wish).length > 0;
        const settings = isChange ? await client.scheduling.set(wish) : await client.scheduling.get();
        const { strategy, vcpuOvercommit, diskOvercommit } = settings;
        const text = () =>
          `strategy         ${strategy}\nvcpu-overcommit  ${vcpuOvercommit}\ndisk-overcommit  ${diskOvercommit}\n`;
        await print(context, format, { strategy, vcpuOvercommit, diskOvercommit }, text, [strategy]);
      }),
    );
}

function wishOf({ strategy, vcpuOvercommit, diskOvercommit }: SchedulingOptions): Scheduling {
  return {
    ...(strategy === undefined ? {} : { strategy: strategyOf(strategy) }),
    ...(vcpuOvercommit === undefined ? {} : { vcpuOvercommit: factorOf(vcpuOvercommit, "--vcpu-overcommit") }),
    ...(diskOvercommit === undefined ? {} : { diskOvercommit: factorOf(diskOvercommit, "--disk-overcommit") }),
  };
}

/** @throws INVALID_ARGUMENT */
function strategyOf(text: string): "spread" | "binpack" {
  if (text === "spread" || text === "binpack") return text;
  throw new BlixardError("INVALID_ARGUMENT", `--strategy: ${text} is neither spread nor binpack`);
}

/** Whether it is within its limits is up to the node. @throws INVALID_ARGUMENT */
function factorOf(text: string, option: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  throw new BlixardError("INVALID_ARGUMENT", `${option}: ${text} is no number`, { hint: "For example 8 or 1.5." });
}
