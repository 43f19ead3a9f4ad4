import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "@jest/globals";
import { ConsoleLog } from "./console-log.ts";
import { ConsoleScan, PanicFinder } from "./console-scan.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "./testing/temporary-directory.ts";

afterAll(removeTemporaryDirectories);

const panic = "Kernel panic - not syncing: Attempted to kill init!";

/** What is found when the output comes in pieces of that many bytes. */
function found(output: string, pieceBytes: number): string | undefined {
  const finder = new PanicFinder();
  const bytes = Buffer.from(output, "latin1");
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const line = finder.find(bytes.subarray(at, at + pieceBytes));
    if (line !== undefined) return line;
  }
  return undefined;
}

describe("PanicFinder", () => {
  it.each(["", "[    1.234567] ", "<0>[   12.000001] ", "[    0.500000][    T1] "])(
    "finds a panic after %j, wherever the pieces of the output end",
    (before) => {
      const output = `booting\r\n${before}${panic}\r\n---[ end ]---\r\n`;
      for (const pieceBytes of [1, 2, 7, 23, 1_000]) expect(found(output, pieceBytes)).toBe(panic);
    },
  );

  it.each([
    `echo: ${panic}\n`,
    `${"x".repeat(1_000)}${panic}\n`,
    "Kernel panic\n - not syncing: no\n",
    "[ 1.0] Kernel panick\n",
  ])("takes %j for none", (output) => {
    for (const pieceBytes of [1, 64, 10_000]) expect(found(output, pieceBytes)).toBeUndefined();
  });

  it("keeps what people are shown short and free of control characters", () => {
    const line = found(`Kernel panic - not syncing: \u001b[2J${"\u00ff".repeat(9)}end${"x".repeat(9_999)}\n`, 100);
    expect(line).toMatch(/^Kernel panic - not syncing: +\[2J endx+$/);
    expect(line?.length).toBeLessThanOrEqual(256);
  });
});

describe("ConsoleScan", () => {
  it("reads on from the start of its instance, and passes over what a flooding guest wrote before", async () => {
    const directory = await temporaryDirectory();
    const log = join(directory, "console.log");
    const before = `${panic} (of an earlier start)\n`;
    await writeFile(log, before);
    const scan = new ConsoleScan(new ConsoleLog(directory, 1_024), before.length);
    await scan.advance();
    expect(scan.panic).toBeUndefined();
    await writeFile(log, `${panic} (passed over)\n${"x\n".repeat(200_000)}[ 9.0] Kernel pan`, { flag: "a" });
    await scan.advance();
    expect(scan.panic).toBeUndefined();
    await writeFile(log, "ic - not syncing: here\n", { flag: "a" });
    await scan.advance();
    expect(scan.panic).toBe("Kernel panic - not syncing: here");
  });
});
