/** The Logger port on pino, to standard error. */
import type { LogFields, Logger, LogLevel } from "@blixard/common";
import { type Logger as PinoLogger, pino } from "pino";
import { prettyFactory } from "pino-pretty";
import { printable } from "../cli/cli-context.ts";
import { type LineTarget, LossyLines } from "./lossy-lines.ts";

export interface LogOptions {
  readonly format: "pretty" | "json";
  readonly level: LogLevel;
  readonly color: boolean;
}

/** Minutes of an ordinary log, and no weight in memory. */
const waitingBytesMax = 256 * 1024;

/** Lines are handed to the system at once, so that the last ones before a crash are there. */
export function createPinoLogger(options: LogOptions, target: LineTarget = process.stderr): Logger {
  const settings = { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  const pretty = prettyFactory({ colorize: options.color, singleLine: true, translateTime: "SYS:HH:MM:ss.l" });
  const toLine = options.format === "json" ? (line: string) => line : (line: string) => pretty(printableEntry(line));
  const lines = new LossyLines(target, {
    waitingBytesMax,
    onBack: (dropped) => logger.warn({ dropped }, "lines of the log were dropped, because nobody read it"),
  });
  const logger = pino(settings, { write: (line: string) => lines.write(toLine(line)) });
  return wrap(logger);
}

/**
 * For people: what others have said stands in the log too, and must neither reach their terminal nor begin a line of its
 * own. JSON writes most of such characters as codes, and is for programs.
 */
function printableEntry(line: string): string {
  return JSON.stringify(JSON.parse(line, printableValue));
}

function printableValue(key: string, value: unknown): unknown {
  if (typeof value === "string") return printable(key === "stack" ? value : value.replaceAll("\n", " "));
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [printable(name.replaceAll("\n", " ")), part]));
}

function wrap(logger: PinoLogger): Logger {
  return {
    log(level: LogLevel, message: string, fields?: LogFields) {
      if (fields === undefined) logger[level](message);
      else logger[level](plain(fields), message);
    },
    child: (fields: LogFields) => wrap(logger.child(plain(fields))),
  };
}

/** Error objects have no own properties that JSON would show. */
function plain(fields: LogFields): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    shown[key] = value instanceof Error ? { message: value.message, stack: value.stack } : value;
  }
  return shown;
}
