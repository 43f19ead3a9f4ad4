/** The variables of the environment that this program looks at. */
import { nearest } from "@blixard/common";
import { type CliContext, say } from "./cli-context.ts";

const ownVariables: readonly string[] = [
  "BLIXARD_ADDRESS",
  "BLIXARD_TOKEN",
  "BLIXARD_CONTEXT",
  "BLIXARD_DATA_DIR",
  "BLIXARD_CONFIG",
  "BLIXARD_DEBUG",
];

/** Says which variables look like those of this program and have no effect. */
export async function warnOfVariables(context: CliContext): Promise<void> {
  const given = Object.keys(context.env).filter((name) => name.startsWith("BLIXARD_") && !ownVariables.includes(name));
  if (given.length === 0) return;
  // The settings of a node are loaded for their names only where one of them may be meant.
  const { settingNames, variableOf } = await import("@blixard/server/settings");
  const variables = [...ownVariables, ...settingNames.map(variableOf)];
  for (const name of given) {
    if (variables.includes(name)) continue;
    const near = nearest(name, variables);
    say(context, `warning: there is no variable ${name}${near === undefined ? "" : `; did you mean ${near}?`}`);
  }
}
