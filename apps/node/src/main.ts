#!/usr/bin/env node
/** The `blixard` binary: one command line in, one exit code out. */
import type { CliContext } from "./cli/cli-context.ts";
import { run } from "./cli/program.ts";

const interrupted = new AbortController();
process.once("SIGINT", () => {
  interrupted.abort();
  process.exitCode = 130;
});
// A reader that went away, as in `blixard vm list | head -1`, is no error.
process.stdout.on("error", () => process.exit(0));

const context: CliContext = {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  signal: interrupted.signal,
  exitCode: 0,
};

process.exitCode = await run(process.argv.slice(2), context);
