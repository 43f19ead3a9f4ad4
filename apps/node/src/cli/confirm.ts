/** Asks before something is destroyed. */
import { createInterface } from "node:readline/promises";
import { BlixardError, linkSignal } from "@blixard/common";
import type { CliContext } from "./cli-context.ts";

/**
 * Resolves when the person agrees; off a terminal only `--yes` agrees.
 * @throws NOT_CONFIRMED, CANCELLED at Ctrl-C, INVALID_ARGUMENT off a terminal
 */
export async function confirm(context: CliContext, question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  const answer = await askTerminal(context, `${question} [y/N]`, "Add --yes.");
  if (!/^y(es)?$/i.test(answer)) throw new BlixardError("NOT_CONFIRMED", "nothing was changed");
}

/**
 * What the person types, without spaces around it. `hint` says what to do off a terminal.
 * @throws CANCELLED at Ctrl-C, INVALID_ARGUMENT off a terminal
 */
export async function askTerminal(context: CliContext, question: string, hint: string): Promise<string> {
  if (context.stdin.isTTY !== true) {
    throw new BlixardError("INVALID_ARGUMENT", `${question.replace(" [y/N]", "")} Nobody can be asked here`, { hint });
  }
  const terminal = createInterface({ input: context.stdin, output: context.stderr });
  const left = new AbortController();
  let interrupted = false;
  // A terminal in raw mode sends Ctrl-C as a key, and the end of input closes it.
  terminal.once("SIGINT", () => {
    interrupted = true;
    left.abort();
  });
  terminal.once("close", () => left.abort());
  const { signal, release } = linkSignal(context.signal, left.signal);
  try {
    const answer = await terminal.question(`${question} `, { signal }).catch(() => "");
    if (interrupted || context.signal.aborted) {
      throw new BlixardError("CANCELLED", "interrupted; nothing was changed", { outcome: "not_applied" });
    }
    return answer.trim();
  } finally {
    release();
    terminal.close();
  }
}
