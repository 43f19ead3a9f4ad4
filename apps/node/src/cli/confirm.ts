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
  if (context.stdin.isTTY !== true) {
    throw new BlixardError("INVALID_ARGUMENT", `${question} Nobody can be asked here`, { hint: "Add --yes." });
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
    const answer = await terminal.question(`${question} [y/N] `, { signal }).catch(() => "");
    if (interrupted || context.signal.aborted) {
      throw new BlixardError("CANCELLED", "interrupted; nothing was changed", { outcome: "not_applied" });
    }
    if (!/^y(es)?$/i.test(answer.trim())) throw new BlixardError("NOT_CONFIRMED", "nothing was changed");
  } finally {
    release();
    terminal.close();
  }
}
