/** Asks the person at the terminal. */
import { createInterface } from "node:readline/promises";
import { BlixardError, linkSignal } from "@blixard/common";
import type { CliContext } from "./cli-context.ts";

/**
 * Asks before something is destroyed. Resolves when the person agrees; off a terminal only `--yes` agrees.
 * @throws NOT_CONFIRMED, CANCELLED at Ctrl-C, INVALID_ARGUMENT off a terminal
 */
export async function confirm(context: CliContext, question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  const answer = await askPerson(context, `${question} [y/N] `, {
    elsewhere: `${question} Nobody can be asked here`,
    hint: "Add --yes.",
  });
  if (!/^y(es)?$/i.test(answer)) throw new BlixardError("NOT_CONFIRMED", "nothing was changed");
}

/**
 * The answer of the person at the terminal; empty when the input ended.
 * @throws CANCELLED at Ctrl-C, INVALID_ARGUMENT with the words for `elsewhere` off a terminal
 */
export async function askPerson(
  context: CliContext,
  question: string,
  { elsewhere, hint }: { readonly elsewhere: string; readonly hint: string },
): Promise<string> {
  if (context.stdin.isTTY !== true) throw new BlixardError("INVALID_ARGUMENT", elsewhere, { hint });
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
    const answer = await terminal.question(question, { signal }).catch(() => "");
    if (interrupted || context.signal.aborted) {
      throw new BlixardError("CANCELLED", "interrupted; nothing was changed", { outcome: "not_applied" });
    }
    return answer.trim();
  } finally {
    release();
    terminal.close();
  }
}
