/**
 * The life of a daemon process: start, the ready line, signals, the end, and the exit code.
 *
 *     starting --ready--> serving --SIGTERM, SIGINT--> stopping --> exit 0
 *       ^ |                  |---- fatal error ----------------> exit 70, 74, 76, 77 or 78
 *       '-|---- another key -'
 *         '-- error --> exit 1, 64, 74, 75, 76, 77 or 78
 */
import { errorCodeOf, errorCodes, type Logger, messageOf } from "@blixard/common";

import type { NodeConfig } from "@blixard/server";
import { type RunningNode, startNode } from "@blixard/server";
import { type CliContext, say } from "../cli/cli-context.ts";
import { reportError, useColor } from "../cli/cli-errors.ts";
import { readPageFiles } from "./page-files.ts";
import { createPinoLogger } from "./pino-logger.ts";

/** A clean stop ends within 10 s, whatever hangs. */
const stopTimeoutMs = 9_000;
/** After a fatal error nothing more may be written; what is left is to tell the others. */
const fatalTimeoutMs = 1_000;
const exitLingerMs = 200;
const invariantExitCode = 70;
/** A node that gets another key starts again by itself; an endpoint takes up to half a minute to close. */
const startAgainTimeoutMs = 45_000;
/** Temporary: a service manager starts the node again where it could not do so by itself. */
const startAgainExitCode = 75;

/** The daemon has fewer exit codes than a command, because a service manager acts on them. */
const daemonExitCodes: Readonly<Record<number, number>> = {
  // Denied, as for a ticket that is used, expired or revoked: refused. Asking again does not help.
  4: 77,
  // Nobody answered, or not in time: temporary.
  6: 75,
  124: 75,
};

/** Resolves with the exit code. */
export async function runDaemon(config: NodeConfig, context: CliContext): Promise<number> {
  const format = config.logFormat ?? (context.stderr.isTTY === true ? "pretty" : "json");
  const logger = createPinoLogger({ format, level: config.logLevel, color: useColor(context) });
  watchForFaults(logger);
  const stop = stopSignal(context, logger);
  let fail: (error: unknown) => void = () => {};
  const fatal = new Promise<never>((_, reject) => {
    fail = reject;
  });
  fatal.catch(() => {});
  const page = await readPageFiles(logger);
  const start = (given: NodeConfig, onNewKey: (ports: NewKeyPorts) => void) =>
    startNode(given, {
      ...{
        logger,
        env: context.env,
        stdin: context.stdin,
        say: (text) => say(context, text),
        signal: stop,
        onNewKey,
        page,
      },
      onFatal: (error) => fail(error),
    });
  for (let given = config; ; ) {
    const renewed = settable<NewKeyPorts>();
    let daemon: RunningNode;
    try {
      daemon = await start(given, renewed.set);
    } catch (error) {
      if (!stop.aborted) return lingerAndExit(reportEnd(error, context));
      logger.log("info", "stopped before the node served", { reason: messageOf(error) });
      return lingerAndExit(0);
    }
    context.stdout.write(`${JSON.stringify(daemon.ready)}\n`);
    let ports: NewKeyPorts | undefined;
    try {
      ports = await Promise.race([aborted(stop), fatal, renewed.promise]);
    } catch (error) {
      return await endFatally(daemon, error, logger, context);
    }
    const again = ports !== undefined;
    logger.log("info", again ? "starting again with another key" : "stopping", { stopVms: config.stopVms && !again });
    const timeoutMs = again ? startAgainTimeoutMs : stopTimeoutMs;
    const clean = await withinMs(timeoutMs, daemon.stop({ again }));
    if (!clean) logger.log("warn", "not everything closed in time", { timeoutMs });
    if (!again || !clean) return lingerAndExit(again ? startAgainExitCode : 0);
    // A ticket, which may have come on standard input, was used by the first start.
    given = { ...config, ...ports, join: undefined, joinFile: undefined };
  }
}

type NewKeyPorts = Pick<NodeConfig, "bind" | "http">;

/** A promise, and what fulfils it. */
function settable<T>(): { readonly promise: Promise<T>; readonly set: (value: T) => void } {
  let set: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    set = resolve;
  });
  return { promise, set };
}

async function endFatally(daemon: RunningNode, error: unknown, logger: Logger, context: CliContext): Promise<number> {
  logger.log("error", "the node stops for good", { code: errorCodeOf(error), error: messageOf(error) });
  await withinMs(fatalTimeoutMs, daemon.abandon());
  return lingerAndExit(reportEnd(error, context));
}

function reportEnd(error: unknown, context: CliContext): number {
  const exitCode = reportError(error, false, context);
  return daemonExitCodes[exitCode] ?? (exitCode === 0 ? 1 : exitCode);
}

/** Native code may hold the process although everything was closed. */
function lingerAndExit(exitCode: number): number {
  setTimeout(() => process.exit(exitCode), exitLingerMs).unref();
  return exitCode;
}

/** Errors that nobody caught: the state of the program is unknown, so it ends; a restart replays the log. */
function watchForFaults(logger: Logger): void {
  const end = (kind: string) => (error: unknown) => {
    const stack = error instanceof Error ? error.stack : undefined;
    logger.log("error", kind, { error: messageOf(error), stack });
    const code = errorCodeOf(error);
    const hasOwnCode = code !== undefined && (code.startsWith("STORAGE_") || code === "NEEDS_UPGRADE");
    process.exit(hasOwnCode ? errorCodes[code].exitCode : invariantExitCode);
  };
  process.on("uncaughtException", end("uncaught exception"));
  process.on("unhandledRejection", end("unhandled rejection"));
}

/** Aborts at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(context: CliContext, logger: Logger): AbortSignal {
  const controller = new AbortController();
  const request = (signal: string) => {
    if (controller.signal.aborted) process.exit(130);
    logger.log("info", "signal received", { signal });
    controller.abort();
  };
  process.on("SIGTERM", () => request("SIGTERM"));
  if (context.signal.aborted) request("SIGINT");
  context.signal.addEventListener("abort", () => {
    request("SIGINT");
    process.on("SIGINT", () => request("SIGINT"));
  });
  return controller.signal;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

/** False when `work` took longer. */
async function withinMs(timeoutMs: number, work: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  const done = work.then(
    () => true,
    () => false,
  );
  const outcome = await Promise.race([done, late]);
  clearTimeout(timer);
  return outcome;
}
