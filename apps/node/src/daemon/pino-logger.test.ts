import { Writable } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import { createPinoLogger } from "./pino-logger.ts";

/** Standard error whose reader can stop and go on. */
class Reader extends Writable {
  readonly lines: string[] = [];
  #waiting: (() => void) | undefined;
  #reads = true;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.lines.push(
      ...chunk
        .toString("utf8")
        .split("\n")
        .filter((line) => line !== ""),
    );
    if (this.#reads) done();
    else this.#waiting = done;
  }

  stop(): void {
    this.#reads = false;
  }

  goOn(): void {
    this.#reads = true;
    this.#waiting?.();
  }
}

describe("what others have said", () => {
  it("reaches nobody's terminal with control characters in it, nor begins a line, and programs as it is", async () => {
    const said = "a\u001b[2J\u009b1mb\u202ec\n[12:00:00.000] INFO: all is well";
    for (const color of [true, false]) {
      const reader = new Reader();
      const logger = createPinoLogger({ format: "pretty", level: "info", color }, reader);
      logger.log("warn", `he said ${said}`, { said, nested: { list: [said], [said]: 1 }, error: new Error(said) });
      await new Promise((resolve) => reader.end(resolve));
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of the log itself
      const shown = reader.lines.map((line) => line.replaceAll(/\u001b\[\d+m/g, ""));
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect(shown.join("")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]|\\u00|\[2J\[1m/);
      expect(shown.filter((line) => line.startsWith("[12:00:00"))).toEqual([]);
      expect(shown[0]).toContain("he said a\ufffd[2J\ufffd1mb\ufffdc [12:00:00.000] INFO");
    }
    const reader = new Reader();
    createPinoLogger({ format: "json", level: "info", color: false }, reader).log("info", "m", { said });
    await new Promise((resolve) => reader.end(resolve));
    expect(JSON.parse(reader.lines[0] ?? "")).toMatchObject({ said });
  });
});

const lines = 10_000;
const text = "x".repeat(100);

describe.each(["json", "pretty"] as const)("the log in the format %s", (format) => {
  it("keeps a bounded part while nobody reads, and counts the rest when the reader is back", async () => {
    const reader = new Reader();
    const logger = createPinoLogger({ format, level: "info", color: false }, reader);
    logger.log("info", "before");
    reader.stop();
    for (let number = 0; number < lines; number++) logger.log("info", text, { number });
    expect(reader.writableLength).toBeLessThanOrEqual(256 * 1024);
    const drained = new Promise((resolve) => reader.once("drain", resolve));
    reader.goOn();
    await drained;
    logger.log("info", "after");
    await new Promise((resolve) => reader.end(resolve));
    expect(reader.lines[0]).toContain("before");
    const kept = reader.lines.filter((line) => line.includes(text)).length;
    expect(kept).toBeGreaterThan(1_000);
    const [notice, last] = reader.lines.slice(-2);
    expect(notice).toContain("lines of the log were dropped");
    expect(notice).toContain(`"dropped":${lines - kept}`);
    expect(last).toContain("after");
  });
});
