/**
 * Brings processors and memory of a VM that runs up to what is wanted, as far as its process can. A loop of its own, because a
 * guest may take its time, or not listen. What it does not do is told, and asked for again.
 */
import { isDeepStrictEqual } from "node:util";
import { type Clock, type Logger, messageOf, pauseFor, Watch } from "@blixard/common";
import { isWithin, type VmHotplug } from "@blixard/protocol";
import type { GuestUse } from "../agent/guest-agent.ts";
import type { GuestSize, InstanceSize, InstanceState } from "../driver.ts";
import { untilWoken } from "../until-woken.ts";

const retryMs = 5_000;
/** A guest sees what has come some moments later. */
const useIntervalMs = 500;
const useRoundsMax = 40;

/** What is told of it. */
export interface LiveSizeView {
  readonly size: GuestSize;
  /** What the guest does not do. */
  readonly problem: string | undefined;
}

export interface LiveSizeDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly size: InstanceSize;
  readonly hotplug: VmHotplug;
  readonly state: Pick<Watch<InstanceState>, "until">;
  /** Has the guest use what it sees; undefined while nobody there does that. */
  readonly useAll: () => Promise<GuestUse> | undefined;
  /** The walls around its process leave it room for so much. */
  readonly makeRoom: (size: GuestSize) => Promise<void>;
}

export class LiveSize {
  /** Undefined before it was looked. */
  readonly view = new Watch<LiveSizeView | undefined>(undefined);
  readonly #deps: LiveSizeDeps;
  readonly #turn = new Watch(0);
  readonly #closing = new AbortController();
  #wish: GuestSize | undefined;
  readonly #loop: Promise<void>;

  constructor(deps: LiveSizeDeps) {
    this.#deps = deps;
    this.#loop = this.#run();
  }

  /** Level-triggered. */
  want({ vcpus, memoryMiB }: GuestSize): void {
    const wish = { vcpus, memoryMiB };
    if (isDeepStrictEqual(wish, this.#wish)) return;
    this.#wish = wish;
    this.#wake();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake();
    await this.#loop;
  }

  #wake(): void {
    this.#turn.update((count) => count + 1);
  }

  async #run(): Promise<void> {
    const { clock, state, logger } = this.#deps;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const seen = this.#turn.value;
      const wish = this.#wish;
      let untilMs: number | undefined;
      if (wish !== undefined) {
        // A guest that stands still takes nothing, and gives nothing back.
        await state.until(({ type }) => type === "running", { signal }).catch(() => {});
        if (signal.aborted) return;
        try {
          const before = this.view.value?.problem;
          const problem = await this.#align(wish);
          if (problem !== undefined && problem !== before) {
            logger.log("warn", "the size of a VM is not as it is wanted", { problem });
          }
          if (problem !== undefined) untilMs = clock.monotonicMs() + retryMs;
        } catch {
          // Its process does not answer, or has ended: its state says so.
          untilMs = clock.monotonicMs() + retryMs;
        }
      }
      if (!signal.aborted) await untilWoken(clock, this.#turn, seen, untilMs);
    }
  }

  /**
   * Beside the growth: Linux takes no more than a GiB before what it has is in use. Whether it is used is up to the guest, so
   * nothing waits for it.
   */
  async #use(vcpus: number, hasCome: () => boolean): Promise<void> {
    const { clock, useAll } = this.#deps;
    const { signal } = this.#closing;
    for (let round = 0; round < useRoundsMax && !signal.aborted; round++) {
      const isLast = hasCome();
      const use = await useAll()?.catch(() => undefined);
      if (isLast && use !== undefined && use.vcpus >= vcpus && !use.changed) return;
      await pauseFor(clock, useIntervalMs, signal);
    }
  }

  /** Resolves with what could not be done. What the process cannot have without a start is not tried. */
  async #align(wish: GuestSize): Promise<string | undefined> {
    const { size, hotplug, makeRoom } = this.#deps;
    const { signal } = this.#closing;
    const problems: string[] = [];
    const tried = async (what: string, step: () => Promise<void>) => {
      try {
        await step();
      } catch (error) {
        problems.push(`${what}: ${messageOf(error)}`);
      }
    };
    const before = await size.read();
    const roomFor = async (wanted: GuestSize, has: GuestSize) =>
      await makeRoom({
        vcpus: Math.max(wanted.vcpus, has.vcpus),
        memoryMiB: Math.max(wanted.memoryMiB, has.memoryMiB),
      });
    const vcpus = isWithin(hotplug, "vcpus", wish.vcpus) ? wish.vcpus : before.vcpus;
    const memoryMiB = isWithin(hotplug, "memoryMiB", wish.memoryMiB) ? wish.memoryMiB : before.memoryMiB;
    const wanted = { vcpus, memoryMiB };
    let hasCome = false;
    await tried("its control groups", async () => {
      await roomFor(wanted, before);
      // More memory than its group allows would end its process.
      if (vcpus > before.vcpus || memoryMiB > before.memoryMiB) void this.#use(vcpus, () => hasCome);
      if (vcpus !== before.vcpus) await tried("vcpus", () => size.setVcpus(vcpus, signal));
      if (memoryMiB !== before.memoryMiB) await tried("memory", () => size.setMemory(memoryMiB, signal));
    });
    hasCome = true;
    const after = await size.read();
    // A group that keeps more room than is needed harms nobody.
    await roomFor(wanted, after).catch(() => {});
    const problem = problems.length === 0 ? undefined : problems.join("; ");
    const view = { size: after, problem };
    if (!isDeepStrictEqual(view, this.view.value)) this.view.set(view);
    return problem;
  }
}
