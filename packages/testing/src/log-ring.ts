import type { LogFields, Logger, LogLevel } from "@blixard/common";

const linesMax = 400;

/** Keeps the last lines of a log in memory, to be shown when something did not happen in time. */
export class LogRing implements Logger {
  readonly #lines: string[];
  readonly #fields: LogFields;

  constructor(lines: string[] = [], fields: LogFields = {}) {
    this.#lines = lines;
    this.#fields = fields;
  }

  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (level === "debug") return;
    const all = { ...this.#fields, ...fields };
    const text = Object.entries(all).map(
      ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
    this.#lines.push([level, message, ...text].join(" "));
    if (this.#lines.length > linesMax) this.#lines.shift();
  }

  child(fields: LogFields): Logger {
    return new LogRing(this.#lines, { ...this.#fields, ...fields });
  }

  tail(count: number): string {
    return this.#lines.slice(-count).join("\n");
  }
}
