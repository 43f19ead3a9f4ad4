import { BlixardError, type Clock, type ErrorCode } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { AskBudget, TicketGuard, ticketGuardLimits } from "./ticket-guard.ts";

const { perKeyMax, perKeyRefillMs, leaderAsksMax, leaderAsksRefillMs } = ticketGuardLimits;
let nowMs = 0;
const clock: Clock = { ...systemClock, monotonicMs: () => nowMs };
let guard: TicketGuard;
let asked = 0;

beforeEach(() => {
  nowMs = 1_000;
  asked = 0;
  guard = new TicketGuard(clock);
});

const guess = (key: string, code: ErrorCode = "TICKET_INVALID") =>
  guard
    .run(key, async () => {
      asked++;
      throw new BlixardError(code, "no");
    })
    .catch((error: BlixardError) => error.code);

describe("TicketGuard", () => {
  it("asks no more for a key that guessed too often, until some time has passed", async () => {
    for (let count = 0; count < perKeyMax; count++) expect(await guess("a")).toBe("TICKET_INVALID");
    expect(await guess("a")).toBe("OVERLOADED");
    expect(asked).toBe(perKeyMax);
    await expect(guard.run("a", async () => "in")).rejects.toMatchObject({ code: "OVERLOADED" });
    expect(await guard.run("b", async () => "in")).toBe("in");
    nowMs += perKeyRefillMs;
    expect(await guard.run("a", async () => "in")).toBe("in");
    expect(await guess("a")).toBe("TICKET_INVALID");
    expect(await guess("a")).toBe("OVERLOADED");
  });

  it("refuses no key for what others have shown", async () => {
    for (let count = 0; count < 20 * perKeyMax; count++) expect(await guess(`key ${count}`)).toBe("TICKET_INVALID");
    expect(await guard.run("one more", async () => "in")).toBe("in");
  });

  it("counts only what is wrong with the ticket", async () => {
    for (let count = 0; count < 20 * perKeyMax; count++) {
      for (const code of ["JOIN_PENDING", "NO_LEADER", "UNREACHABLE"] as const)
        expect(await guess("a", code)).toBe(code);
    }
  });
});

describe("AskBudget", () => {
  it("lets so many questions through at once, and one more after a while", () => {
    const budget = new AskBudget(clock);
    for (let count = 0; count < leaderAsksMax; count++) budget.take();
    const refused = expect.objectContaining({ code: "OVERLOADED" });
    expect(() => budget.take()).toThrow(refused);
    nowMs += leaderAsksRefillMs;
    budget.take();
    expect(() => budget.take()).toThrow(refused);
  });
});
