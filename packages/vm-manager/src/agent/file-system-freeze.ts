/**
 * Does something while the file systems of a guest stand still. The agent thaws nothing by itself, so that a process of its own
 * freezes them (`freeze-main.ts`), which thaws them after a while whatever becomes of this one. A mark in the directory of the VM
 * says that they may be frozen: where both processes are killed, the next manager thaws them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BlixardError, type Clock, errorCodeOf, pauseFor, Watch, withDeadline } from "@blixard/common";
import { writeFileDurable } from "@blixard/common/system";
import { launchCommand } from "../confinement/launcher.ts";
import { freezeArgument, freezeMs, workMs } from "./freeze-limits.ts";
import type { GuestAgent } from "./guest-agent.ts";

const startMs = 10_000;
const thawedMs = 30_000;
const retryMs = 5_000;
/** Of an agent that does not know how to. */
const refusalsMax = 12;

const markFile = "frozen";

export interface FreezeDeps {
  readonly clock: Clock;
  readonly agent: Pick<GuestAgent, "lend" | "thaw">;
  /** Of the VM. */
  readonly directory: string;
}

/**
 * Runs `work` with the file systems frozen, and says whether they were: not without an agent that answers.
 * @throws DEADLINE_EXCEEDED when it takes longer than they may be
 */
export async function whileFrozen(
  deps: FreezeDeps,
  { work, signal }: { readonly work: () => Promise<void>; readonly signal: AbortSignal },
): Promise<boolean> {
  const { clock, agent, directory } = deps;
  const mark = join(directory, markFile);
  const done = agent.lend(async (path) => {
    await writeFileDurable(mark, "");
    const freezer = new Freezer(clock, path);
    try {
      const isFrozen = await freezer.freeze();
      await withDeadline({ clock, timeoutMs: workMs, what: "the end of the copy" }, () => work());
      if (isFrozen && !freezer.holds) throw new BlixardError("DEADLINE_EXCEEDED", "the guest went on too early");
      return isFrozen;
    } finally {
      if (await freezer.thaw()) await rm(mark, { force: true });
    }
  });
  // Where it could not be said that it was thawed, the mark is still there.
  return await done.finally(() => void thawLeftovers(deps, signal));
}

/**
 * Thaws what an earlier manager, or a process that was killed, may have left frozen. Ends with `signal`, and when the agent has
 * refused it again and again; never rejects.
 */
export async function thawLeftovers({ clock, agent, directory }: FreezeDeps, signal: AbortSignal): Promise<void> {
  const mark = join(directory, markFile);
  let refusals = 0;
  while (!signal.aborted && existsSync(mark)) {
    const isOver = await agent.thaw().then(
      () => true,
      (error: unknown) => errorCodeOf(error) === "CONFLICT" && ++refusals >= refusalsMax,
    );
    if (isOver) await rm(mark, { force: true });
    else await pauseFor(clock, retryMs, signal);
  }
}

/** Nothing of an earlier start is frozen in one that begins. */
export async function forgetFreeze(directory: string): Promise<void> {
  await rm(join(directory, markFile), { force: true });
}

class Freezer {
  readonly #clock: Clock;
  readonly #child: ChildProcess;
  readonly #seen = new Watch({ said: "", hasEnded: false });

  constructor(clock: Clock, path: string) {
    this.#clock = clock;
    const launch = launchCommand({ program: process.execPath, arguments: [programPath(), freezeArgument, path] });
    this.#child = spawn(launch.program, [...launch.arguments], {
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
      env: { PATH: process.env["PATH"] },
    });
    this.#child.stdin?.on("error", () => {});
    this.#child.stdout?.on("data", (chunk: Buffer) => {
      this.#seen.update(({ said, hasEnded }) => ({ said: `${said}${chunk.toString("latin1")}`, hasEnded }));
    });
    const end = () => this.#seen.update(({ said }) => ({ said, hasEnded: true }));
    this.#child.on("error", end);
    this.#child.on("close", end);
  }

  /** False when there is nothing that could stand still, or nobody who does that. */
  async freeze(): Promise<boolean> {
    const limit = { clock: this.#clock, delayMs: startMs + freezeMs };
    const { said } = await this.#seen.until((seen) => seen.hasEnded || seen.said.includes("\n"), { limit });
    return Number(/^frozen (\d+)\n/.exec(said)?.[1] ?? 0) > 0;
  }

  /** They stand still. */
  get holds(): boolean {
    const { said, hasEnded } = this.#seen.value;
    return !hasEnded && !said.includes("thawed\n");
  }

  /** Whether it is known that nothing stands still any more. */
  async thaw(): Promise<boolean> {
    this.#child.stdin?.end();
    const limit = { clock: this.#clock, delayMs: thawedMs };
    const { said } = await this.#seen.until((seen) => seen.hasEnded, { limit });
    return said.includes("thawed\n");
  }
}

/** It runs as plain JavaScript: when this module runs from its source, the build stands beside it. */
function programPath(): string {
  const program = fileURLToPath(new URL("./freeze-main.js", import.meta.url));
  const built = join(dirname(program), "../../dist/agent/freeze-main.js");
  return existsSync(program) ? program : built;
}
