/** What a command has of the world around it; tests give another one. */
import type { Readable, Writable } from "node:stream";

export interface CliContext {
  /** Data only. */
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** Progress, hints and errors. */
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
  /** Exit code of a command that succeeded in a way of its own; 0 when it is not set. */
  exitCode: number;
}

/** One line to standard error. */
export function say(context: CliContext, text: string): void {
  context.stderr.write(`${text}\n`);
}
