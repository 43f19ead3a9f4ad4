/** `blixard version` */
import type { Command } from "commander";
import { blixardVersion } from "../../version.ts";
import type { CliContext } from "../cli-context.ts";
import { parseOutputFormat, print } from "../output.ts";

export function registerVersion(command: Command, context: CliContext): void {
  command
    .option("-o, --output <format>", "table, json or yaml", "table")
    .action((options: { output: string }) => printVersion(context, parseOutputFormat(options.output)));
}

export async function printVersion(context: CliContext, format: OutputFormat): Promise<void> {
  const data = {
    version: blixardVersion,
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
  };
  await print(context, format, data, () => `blixard ${blixardVersion}\n`, [blixardVersion]);
}
