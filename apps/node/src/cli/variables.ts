/** The variables of the environment that this program looks at. */
import { nearest } from "@blixard/common";
import { settingNames, variableOf } from "@blixard/server/settings";
import { type CliContext, say } from "./cli-context.ts";

const variables: readonly string[] = [
  "BLIXARD_ADDRESS",
  "BLIXARD_TOKEN",
  "BLIXARD_CONTEXT",
  "BLIXARD_CONFIG",
  "BLIXARD_DEBUG",
  ...settingNames.map(variableOf),
];

/** Says which variables look like those of this program and have no effect. */
export function warnOfVariables(context: CliContext): void {
  for (const name of Object.keys(context.env)) {
    if (!name.startsWith("BLIXARD_") || variables.includes(name)) continue;
    const near = nearest(name, variables);
    say(context, `warning: there is no variable ${name}${near === undefined ? "" : `; did you mean ${near}?`}`);
  }
}
