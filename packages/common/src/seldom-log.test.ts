import { describe, expect, it } from "@jest/globals";
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import { SeldomLog } from "./seldom-log.ts";

describe("SeldomLog", () => {
  it("writes the first time at once, and later ones every ten seconds with their number", () => {
    let nowMs = 0;
    const clock: Pick<Clock, "monotonicMs"> = { monotonicMs: () => nowMs };
    const lines: unknown[] = [];
    const logger: Logger = { log: (...line) => void lines.push(line), child: () => logger };
    const log = new SeldomLog({ clock: clock as Clock, logger }, "warn", "it happened");
    for (nowMs of [5, 6, 10_004, 10_005, 10_006]) log.happened({ at: nowMs });
    expect(lines).toEqual([
      ["warn", "it happened", { at: 5, times: 1 }],
      ["warn", "it happened", { at: 10_005, times: 3 }],
    ]);
  });
});
