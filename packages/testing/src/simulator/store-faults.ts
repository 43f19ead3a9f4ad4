/**
 * What happens to whole stores: they are lost, or replaced by older copies of themselves. The node comes back as the
 * operator of a real one lets it: without its store, as a learner with the next incarnation.
 */
import type { FaultTarget } from "./fault-target.ts";
import type { CrashMode } from "./sim-database.ts";
import type { SimMachine } from "./sim-machine.ts";
import { calmNetwork } from "./sim-network.ts";

const pollMs = 50;
/** For so long a later start may take to be known everywhere. */
const knownMsMax = 20_000;
/** The others are asked for at most two seconds, and a process that just ended looks alive for six. */
const refusedMsMax = 10_000;

export class StoreFaults {
  readonly #cluster: FaultTarget;
  readonly #ended: () => boolean;
  #needsQuiet = false;

  /** `ended` says that the storm is over. */
  constructor(cluster: FaultTarget, ended: () => boolean) {
    this.#cluster = cluster;
    this.#ended = ended;
  }

  /** While true, nothing else may go wrong: only nodes that answer can tell that a store is too old. */
  get needsQuiet(): boolean {
    return this.#needsQuiet;
  }

  lose(machine: SimMachine, mode: CrashMode): void {
    if (this.#cluster.isStartKnown === undefined) return;
    machine.crash(mode);
    machine.recover();
  }

  /**
   * Copies the disk between two starts, and puts the copy back when everybody knows of the second one. `canLose` says
   * that the machine can be spared at this moment.
   */
  async restoreCopy(machine: SimMachine, canLose: () => boolean): Promise<void> {
    const { world } = this.#cluster;
    if (this.#cluster.isStartKnown === undefined) return;
    machine.crash("kill");
    const copy = machine.disk.copy();
    void machine.boot();
    const isReady = () => canLose() && this.#allAreWell() && this.#cluster.isStartKnown?.(machine.id) === true;
    if (!(await this.#until(() => this.#ended() || isReady(), knownMsMax)) || this.#ended()) return;
    this.#needsQuiet = true;
    const { conditions } = world.network;
    world.network.conditions = calmNetwork;
    machine.crash("kill");
    machine.restore(copy);
    void machine.boot();
    if (!(await this.#until(() => machine.phase === "lost", refusedMsMax))) {
      const detail = `node ${machine.id} is ${machine.phase} with a store that is older than its last start`;
      world.violations.report("a store that went back takes no part", detail);
    }
    if (!this.#ended()) world.network.conditions = conditions;
    this.#needsQuiet = false;
    machine.recover();
  }

  /** Nobody is cut off, asleep, or about to lose its disk. */
  #allAreWell(): boolean {
    const isWell = ({ process, disk }: SimMachine) => process?.paused === false && disk.isWell;
    return this.#cluster.world.network.isWhole && this.#cluster.inUse().every(isWell);
  }

  async #until(holds: () => boolean, timeoutMs: number): Promise<boolean> {
    const { time } = this.#cluster.world;
    const endMs = time.nowMs + timeoutMs;
    while (!holds()) {
      if (time.nowMs >= endMs) return false;
      await new Promise<void>((resolve) => {
        time.after(pollMs, 0, resolve);
      });
    }
    return true;
  }
}
