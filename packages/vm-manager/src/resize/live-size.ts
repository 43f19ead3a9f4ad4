/** Brings processors and memory of a VM that runs up to what is wanted, as far as its process can. */
import { isDeepStrictEqual } from "node:util";
import { type Clock, type Logger, messageOf, pauseFor, Watch } from "@blixard/common";
import { isWithin, type VmHotplug } from "@blixard/protocol";
import type { GuestUse } from "../agent/guest-agent.ts";
import { AlignLoop } from "../align-loop.ts";
import type { GuestSize, InstanceSize, InstanceState } from "../driver.ts";

/** A guest that stands still takes nothing, and gives nothing back. */
const runningOnly: ReadonlySet<InstanceState["type"]> = new Set(["running"]);
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
  readonly #loop: AlignLoop<GuestSize>;

  constructor(deps: LiveSizeDeps) {
    this.#deps = deps;
    this.#loop = new AlignLoop<GuestSize>({
      ...deps,
      states: runningOnly,
      warning: "the size of a VM is not as it is wanted",
      align: (wish, signal) => this.#align(wish, signal),
    });
  }

  /** Level-triggered. */
  want({ vcpus, memoryMiB }: GuestSize): void {
    this.#loop.want({ vcpus, memoryMiB });
  }

  close(): Promise<void> {
    return this.#loop.close();
  }

  /**
   * Beside the growth: Linux takes no more than a GiB before what it has is in use. Whether it is used is up to the guest, so
   * nothing waits for it.
   */
  async #use(vcpus: number, hasCome: () => boolean, signal: AbortSignal): Promise<void> {
    const { clock, useAll } = this.#deps;
    for (let round = 0; round < useRoundsMax && !signal.aborted; round++) {
      const isLast = hasCome();
      const use = await useAll()?.catch(() => undefined);
      if (isLast && use !== undefined && use.vcpus >= vcpus && !use.changed) return;
      await pauseFor(clock, useIntervalMs, signal);
    }
  }

  /** Resolves with what could not be done. What the process cannot have without a start is not tried. */
  async #align(wish: GuestSize, signal: AbortSignal): Promise<string | undefined> {
    const { size, hotplug, makeRoom } = this.#deps;
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
      if (vcpus > before.vcpus || memoryMiB > before.memoryMiB) void this.#use(vcpus, () => hasCome, signal);
      // Memory that comes while the thread of a new processor begins ends a QEMU 7.2 that translates, so one follows the other.
      if (memoryMiB !== before.memoryMiB) await tried("memory", () => size.setMemory(memoryMiB, signal));
      if (vcpus !== before.vcpus) await tried("vcpus", () => size.setVcpus(vcpus, signal));
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
