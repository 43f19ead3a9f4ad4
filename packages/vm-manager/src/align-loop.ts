/**
 * Brings a part of a VM that runs up to what is wanted of it, in a loop of its own: its guest may take its time, or not listen.
 * What could not be done is told in the log once, and tried again.
 */
import { isDeepStrictEqual } from "node:util";
import { type Clock, type Logger, Watch } from "@blixard/common";
import type { InstanceState } from "./driver.ts";
import { untilWoken } from "./until-woken.ts";

const retryMs = 5_000;

export interface AlignLoopDeps<Wish> {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly state: Pick<Watch<InstanceState>, "until">;
  /** The states in which something can be done. */
  readonly states: ReadonlySet<InstanceState["type"]>;
  /** What the log says when something could not be done. */
  readonly warning: string;
  /** Resolves with what could not be done. Rejects when the process does not answer: its state says so. */
  readonly align: (wish: Wish, signal: AbortSignal) => Promise<string | undefined>;
  /** True while what is as it is wanted may still change by itself. Default: never. */
  readonly mayChange?: () => boolean;
}

export class AlignLoop<Wish> {
  readonly #deps: AlignLoopDeps<Wish>;
  readonly #turn = new Watch(0);
  readonly #closing = new AbortController();
  #wish: Wish | undefined;
  #problem: string | undefined;
  readonly #loop: Promise<void>;

  constructor(deps: AlignLoopDeps<Wish>) {
    this.#deps = deps;
    this.#loop = this.#run();
  }

  /** Level-triggered. */
  want(wish: Wish): void {
    if (isDeepStrictEqual(wish, this.#wish)) return;
    this.#wish = wish;
    this.look();
  }

  /** Something may be possible that was not before. */
  look(): void {
    this.#turn.update((count) => count + 1);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.look();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, state, states } = this.#deps;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const seen = this.#turn.value;
      const wish = this.#wish;
      let isDone = true;
      if (wish !== undefined) {
        await state.until(({ type }) => states.has(type), { signal }).catch(() => {});
        if (signal.aborted) return;
        isDone = await this.#aligned(wish, signal);
      }
      const looksAgain = !isDone || this.#deps.mayChange?.() === true;
      const untilMs = looksAgain ? clock.monotonicMs() + retryMs : undefined;
      if (!signal.aborted) await untilWoken(clock, this.#turn, seen, untilMs);
    }
  }

  async #aligned(wish: Wish, signal: AbortSignal): Promise<boolean> {
    const { logger, warning, align } = this.#deps;
    try {
      const before = this.#problem;
      this.#problem = await align(wish, signal);
      const problem = this.#problem;
      if (problem !== undefined && problem !== before) logger.log("warn", warning, { problem });
      return problem === undefined;
    } catch {
      return false;
    }
  }
}
