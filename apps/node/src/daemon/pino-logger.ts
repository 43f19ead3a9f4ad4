/** The Logger port on pino, to standard error. */
import type { LogFields, Logger, LogLevel } from "@blixard/common";
import { destination, type Logger as PinoLogger, pino } from "pino";
import pretty from "pino-pretty";

export interface LogOptions {
  readonly format: "pretty" | "json";
  readonly level: LogLevel;
  readonly color: boolean;
}

const standardErrorFd = 2;

/** Lines are written at once, so that the last ones before a crash are there. */
export function createPinoLogger(options: LogOptions): Logger {
  const settings = { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  const standardError = destination({ fd: standardErrorFd, sync: true });
  // Whoever read the log may go away; the node stays.
  standardError.on("error", () => {});
  if (options.format === "json") return wrap(pino(settings, standardError));
  const stream = pretty({
    colorize: options.color,
    destination: standardError,
    singleLine: true,
    translateTime: "SYS:HH:MM:ss.l",
  });
  return wrap(pino(settings, stream));
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
