/** The options of `blixard node`, from the table of settings. */

import { flagOf, nodeSettings, type Setting, type SettingName, settingNames } from "@blixard/server/settings";
import { type Command, Option } from "commander";

export function addNodeOptions(command: Command): Command {
  for (const name of settingNames) {
    const setting: Setting = nodeSettings[name];
    const flag = setting.value === undefined ? flagOf(name) : `${flagOf(name)} <${setting.value}>`;
    const shown = typeof setting.fallback === "boolean" || String(setting.fallback ?? "") === "";
    command.addOption(new Option(flag, shown ? setting.help : `${setting.help} (default ${setting.fallback})`));
  }
  return command.option(
    "--config <FILE>",
    "YAML file with settings, named as in `blixard config view` (BLIXARD_CONFIG)",
  );
}

/** What the command line gave, by setting. The parser gives `true` for a negated switch that was not used. */
export function nodeFlags(options: Readonly<Record<string, unknown>>): Partial<Record<SettingName, unknown>> {
  const flags: Partial<Record<SettingName, unknown>> = {};
  for (const name of settingNames) {
    const setting: Setting = nodeSettings[name];
    const value = options[name];
    if (value !== undefined && !(setting.negated && value === true)) flags[name] = value;
  }
  return flags;
}
