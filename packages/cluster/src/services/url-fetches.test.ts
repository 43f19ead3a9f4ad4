import { BlixardError, type Timer } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { UrlFetches } from "./url-fetches.ts";

type Options = Parameters<ConstructorParameters<typeof UrlFetches>[1]["fetchUrl"]>[1];

const signal = new AbortController().signal;
const stored = { digest: "ab".repeat(32), sizeBytes: 9 };
let timers: { delayMs: number; run: () => void }[];
let running: {
  url: string;
  options: Options;
  resolve: (of: typeof stored) => void;
  reject: (error: unknown) => void;
}[];
let fetches: UrlFetches;

/** What waits for a time has it at once, but for what waits for nobody to ask. */
function setTimer(delayMs: number, run: () => void): Timer {
  const timer = { delayMs, run };
  timers.push(timer);
  if (delayMs < 10_000) setImmediate(run);
  return {
    cancel: () => {
      timers = timers.filter((other) => other !== timer);
    },
  };
}

beforeEach(() => {
  timers = [];
  running = [];
  fetches = new UrlFetches(
    { ...systemClock, setTimer },
    {
      fetchUrl: (url, options) =>
        new Promise((resolve, reject) => {
          running.push({ url, options, resolve, reject });
        }),
    },
  );
});

describe("UrlFetches", () => {
  it("goes on between the calls that ask how far it is, and says the digest in the end", async () => {
    const ask = () => fetches.ask("admin", { url: "http://one.test/" }, signal);
    expect(await ask()).toEqual({ receivedBytes: 0, sizeBytes: null, digest: null });
    running[0]?.options.onProgress(4, 9);
    expect(await ask()).toEqual({ receivedBytes: 4, sizeBytes: 9, digest: null });
    running[0]?.resolve(stored);
    expect(await ask()).toEqual({ receivedBytes: 9, sizeBytes: 9, digest: stored.digest });
    expect(running).toHaveLength(1);
    await ask();
    expect(running).toHaveLength(2);
  });

  it("says why it failed, once", async () => {
    const ask = () => fetches.ask("admin", { url: "http://one.test/" }, signal);
    await ask();
    running[0]?.reject(new BlixardError("PERMISSION_DENIED", "no public address"));
    await expect(ask()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await ask();
    expect(running).toHaveLength(2);
  });

  it("ends when nobody asks for it any more, and runs a few at once", async () => {
    await fetches.ask("admin", { url: "http://one.test/" }, signal);
    await fetches.ask("another", { url: "http://one.test/" }, signal);
    await expect(fetches.ask("admin", { url: "http://two.test/" }, signal)).rejects.toMatchObject({
      code: "OVERLOADED",
    });
    for (const { delayMs, run } of [...timers]) if (delayMs > 10_000) run();
    expect(running.map(({ options }) => options.signal.aborted)).toEqual([true, true]);
    await fetches.ask("admin", { url: "http://two.test/" }, signal);
  });
});
