/** For tests that need a tool of the machine: skipped with the reason where it is missing, failed where CI has it. */
import { it } from "@jest/globals";

/** `reason` says what is missing, and how to get it; undefined when nothing is. */
export function requireOrSkip(reason: string | undefined): (name: string, test: () => Promise<void>) => void {
  return (name, test) => {
    if (reason === undefined) it(name, test);
    else if (process.env["CI"] === "true") {
      it(name, () => {
        throw new Error(reason);
      });
    } else it.skip(`${name} (skipped: ${reason})`, test);
  };
}
