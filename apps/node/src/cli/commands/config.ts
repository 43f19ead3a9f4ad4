/** `blixard config view|validate` */

import { type SettingName, settingNames } from "@blixard/server/settings";
import type { Command } from "commander";
import { loadNodeConfig } from "../../config/load-config.ts";
import type { CliContext } from "../cli-context.ts";
import { parseOutputFormat, print } from "../output.ts";
import { formatTable } from "../table.ts";
import { addNodeOptions, nodeFlags } from "./node-options.ts";

type Options = Readonly<Record<string, unknown>> & { readonly config?: string; readonly output: string };

export function registerConfig(command: Command, context: CliContext): void {
  addNodeOptions(command.command("view").description("the configuration that a node started like this would have"))
    .option("--show-origin", "where each value comes from")
    .option("-o, --output <format>", "table, json or yaml", "table")
    .action(async (options: Options) => {
      const { config, origins } = await loadNodeConfig(nodeFlags(options), options.config, context.env);
      const value = (name: SettingName) => (name === "join" && config.join !== undefined ? "(secret)" : config[name]);
      const rows = settingNames.map((name) => {
        const { kind, name: origin } = origins[name];
        return { name, value: value(name) ?? null, origin: kind === "default" ? kind : `${kind} ${origin}` };
      });
      const shown = options["showOrigin"] === true;
      const data = Object.fromEntries(rows.map((row) => [row.name, shown ? row : row.value]));
      const text = () =>
        formatTable(
          ["SETTING", "VALUE", ...(shown ? ["ORIGIN"] : [])],
          rows.map((row) => [row.name, JSON.stringify(row.value), ...(shown ? [row.origin] : [])]),
        );
      await print(context, parseOutputFormat(options.output), data, text, settingNames);
    });
  addNodeOptions(command.command("validate").description("check the configuration without starting anything")).action(
    async (options: Options) => {
      await loadNodeConfig(nodeFlags(options), options.config, context.env);
      context.stdout.write("the configuration is valid\n");
    },
  );
}
