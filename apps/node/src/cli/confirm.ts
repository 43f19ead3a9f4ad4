/** Asks before something is destroyed. */
import { createInterface } from "node:readline/promises";
import { BlixardError } from "@blixard/common";
import type { CliContext } from "./cli-context.ts";

/** Resolves when the person agrees; off a terminal only `--yes` agrees. @throws CANCELLED, INVALID_ARGUMENT */
export async function confirm(context: CliContext, question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  if (context.stdin.isTTY !== true) {
    throw new BlixardError("INVALID_ARGUMENT", `${question} Nobody can be asked here`, { hint: "Add --yes." });
  }
  const terminal = createInterface({ input: context.stdin, output: context.stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `, { signal: context.signal });
    if (/^y(es)?$/i.test(answer.trim())) return;
    throw new BlixardError("CANCELLED", "nothing was changed");
  } finally {
    terminal.close();
  }
}
