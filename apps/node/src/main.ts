#!/usr/bin/env -S node --max-semi-space-size=32 --no-parallel-scavenge
/**
 * The `blixard` binary: one command line in, one exit code out. The flags above are about young objects, which are most of what a
 * node under load makes. With more room for them a collection comes half as often, and fewer of them are still in use then; and
 * one thread collects them, because several that wait for each other cost more than they save where nodes share processors.
 */
import { setMaxListeners } from "node:events";
import type { CliContext } from "./cli/cli-context.ts";

// Every duty and every peer of a node waits on one signal: more than ten are no leak, which Node.js would warn of.
setMaxListeners(1_000);
const interrupted = new AbortController();
process.once("SIGINT", () => {
  interrupted.abort();
  process.exitCode = 130;
});
// The end of the terminal that it was started from asks for the same as SIGTERM: a clean end.
process.on("SIGHUP", () => process.kill(process.pid, "SIGTERM"));
const exitLingerMs = 200;
const overloadedExitCode = 6;
const args = process.argv.slice(2);
const staysAlone = ["node", "join", "dev"].includes(args[0] ?? "");
// A reader that went away, as in `blixard vm list | head -1`, is no error; and a daemon needs no reader.
process.stdout.on("error", () => {
  if (!staysAlone) process.exit(0);
});
process.stderr.on("error", () => {});

const context: CliContext = {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  signal: interrupted.signal,
  exitCode: 0,
};

// Schemas are used once or twice by a command, which would compile each of them for that; a node uses them all the time.
if (!staysAlone) Object.assign(globalThis, { __zod_globalConfig: { jitless: true } });

process.exitCode = await runLoaded();
// Native code may hold the process although everything is done.
setTimeout(() => process.exit(), exitLingerMs).unref();

/** The program is loaded late: with a low limit of open files its own parts cannot be read, and nothing else can say so. */
async function runLoaded(): Promise<number> {
  let program: typeof import("./cli/program.ts");
  try {
    program = await import("./cli/program.ts");
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== "EMFILE") throw error;
    process.stderr.write("error: this process has too many files open to load the program  [OVERLOADED]\n");
    process.stderr.write("hint: Allow it more: ulimit -n 4096, LimitNOFILE=4096 in systemd.\n");
    return overloadedExitCode;
  }
  return await program.run(args, context);
}
