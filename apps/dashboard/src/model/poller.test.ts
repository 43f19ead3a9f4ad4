import { describe, expect, it } from "@jest/globals";
import { Poller } from "./poller.ts";

const settle = () => new Promise((resolve) => setImmediate(resolve));

function setUp() {
  const state = { hidden: false, delays: [] as number[], failures: [] as (number | undefined)[] };
  let run = () => {};
  const poller = new Poller({
    after: (delayMs, then) => {
      state.delays.push(delayMs);
      run = then;
      return () => {
        run = () => {};
      };
    },
    isHidden: () => state.hidden,
    onOutcome: (failure) => state.failures.push(failure?.againMs),
  });
  const elapse = async () => {
    const then = run;
    run = () => {};
    then();
    await settle();
  };
  return { poller, state, elapse };
}

describe("a poller", () => {
  it("asks for all at once at first, and then for one thing at a time", async () => {
    const { poller, state, elapse } = setUp();
    const asked: string[] = [];
    poller.follow(["a", "b"].map((name) => async () => void asked.push(name)));
    await settle();
    for (let times = 0; times < 3; times++) await elapse();
    expect(asked).toEqual(["a", "b", "a", "b"]);
    expect(state.delays).toEqual([0, 2_000, 2_000, 2_000]);
  });

  it("asks ever less while nobody answers, and as before when somebody does", async () => {
    const { poller, state, elapse } = setUp();
    let answers = false;
    poller.follow([
      async () => {
        if (!answers) throw new Error("nobody");
      },
    ]);
    await settle();
    for (let times = 0; times < 6; times++) await elapse();
    expect(state.delays).toEqual([4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(state.failures).toEqual(state.delays);
    answers = true;
    await elapse();
    expect([state.delays.at(-1), state.failures.at(-1)]).toEqual([2_000, undefined]);
  });

  it("asks nothing while nobody looks, and at once when somebody does", async () => {
    const { poller, state, elapse } = setUp();
    let asked = 0;
    poller.follow([async () => void asked++]);
    await settle();
    state.hidden = true;
    await elapse();
    await elapse();
    expect([asked, state.delays.length]).toEqual([1, 1]);
    state.hidden = false;
    poller.wake();
    await settle();
    expect([asked, state.delays.length]).toEqual([2, 2]);
  });

  it("has one request under way, and forgets those of a view that was left", async () => {
    const { poller, state } = setUp();
    let asked = 0;
    let answer = () => {};
    const slow = () =>
      new Promise<void>((resolve) => {
        asked++;
        answer = resolve;
      });
    poller.follow([slow]);
    poller.wake();
    poller.wake();
    expect(asked).toBe(1);
    const answerFirst = answer;
    poller.follow([slow]);
    answerFirst();
    await settle();
    // That of the second view is under way still.
    poller.wake();
    expect(asked).toBe(2);
    poller.follow([]);
    answer();
    await settle();
    expect([state.delays, state.failures]).toEqual([[], []]);
  });
});
