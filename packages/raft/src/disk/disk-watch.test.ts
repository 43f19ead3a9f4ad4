import { describe, expect, it } from "@jest/globals";
import { asNodeId, type ProgressStatus, type Status } from "../core/types.ts";
import { bestSuccessor, healthierSuccessor } from "./disk-watch.ts";

const always = () => true;

/** The status of a leader 1, with how much of the log is durable on each node. */
function statusWith(matches: readonly number[]): Status {
  const progress = matches.map((match, at) => ({ id: asNodeId(at + 1), match, learner: false }) as ProgressStatus);
  return { id: asNodeId(1), progress } as unknown as Status;
}

describe("healthierSuccessor", () => {
  it("is a voter on whose disk more of the log is, while a write of the log hangs", () => {
    expect(healthierSuccessor(statusWith([7, 7, 9]), always, true)).toBe(3);
    expect(healthierSuccessor(statusWith([7, 9, 12]), (id) => id !== 3, true)).toBe(2);
  });

  it("is nobody where all are equally slow", () => {
    expect(healthierSuccessor(statusWith([7, 7, 6]), always, true)).toBeUndefined();
    expect(bestSuccessor(statusWith([7, 7, 6]), always)).toBe(2);
  });

  it("is a voter that is not behind when something else than the log hangs", () => {
    expect(healthierSuccessor(statusWith([7, 6, 7]), always, false)).toBe(3);
    expect(healthierSuccessor(statusWith([7, 6, 5]), always, false)).toBeUndefined();
  });
});
