/** `blixard version` */

import { blixardVersion } from "@blixard/server/version";
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { parseOutputFormat, print } from "../output.ts";

export function registerVersion(command: Command, context: CliContext): void {
  command
    .option("-o, --output <format>", "table, json or yaml", "table")
    .action(async (options: { output: string }) => {
      const platform = `${process.platform}-${process.arch}`;
      const data = { version: blixardVersion, node: process.versions.node, platform };
      const format = parseOutputFormat(options.output);
      await print(context, format, data, () => `blixard ${blixardVersion}\n`, [blixardVersion]);
    });
}
