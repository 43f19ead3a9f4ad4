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
  context.stderr.write(`${printable(text)}\n`);
}

/**
 * Text as it may go to a terminal: names, reasons and values come from others, and control characters in them would move
 * the cursor, change colours or hide what stands beside them. Lines and tabs stay.
 */
export function printable(text: string): string {
  return text.replaceAll(unprintable, "\ufffd");
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unprintable = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
