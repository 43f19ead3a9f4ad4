/** Makes the planned faults happen, and plays the operator who repairs what no machine repairs by itself. */

import type { Random } from "@blixard/common";
import type { FaultAction, FaultEvent, Target } from "./fault-schedule.ts";
import type { CrashFault, FaultTarget } from "./fault-target.ts";
import { type RoundCounts, RoundPlayer } from "./round-player.ts";
import { chance, integer, randomOf } from "./seeds.ts";
import type { SimMachine } from "./sim-machine.ts";
import { calmNetwork } from "./sim-network.ts";
import { SpecialFaultPlayer } from "./special-fault-player.ts";
import { StoreFaults } from "./store-faults.ts";

const clusterSizeMax = 7;
/** For how long each of four leaders is gone: the first comes back in time to follow the second, which stays away. */
const huntedGoneMs: readonly (readonly [number, number])[] = [
  [1_500, 2_500],
  [4_000, 7_000],
  [3_000, 6_000],
  [500, 1_500],
];
const leftAloneMs = 1_500;
const operatorTimeoutMs = 8_000;
const switchOffMs = 1_000;

export class FaultPlayer {
  readonly #cluster: FaultTarget;
  readonly #seed: number;
  readonly #votersMin: number;
  readonly #pending = new Set<Promise<void>>();
  readonly #random: Random;
  readonly #storeFaults: StoreFaults;
  readonly #special: SpecialFaultPlayer;
  readonly #rounds: RoundPlayer;
  #leaderHunt = { withinMs: 0, untilMs: 0 };
  #hunted = 0;
  #ended = false;

  constructor(cluster: FaultTarget, seed: number, votersMin: number) {
    this.#cluster = cluster;
    this.#seed = seed;
    this.#votersMin = votersMin;
    this.#random = randomOf(seed, "hunt");
    this.#storeFaults = new StoreFaults(cluster, () => this.#ended);
    cluster.world.checker.onLeader = (nodeId) => this.#hunt(nodeId);
    this.#special = new SpecialFaultPlayer(cluster, {
      random: randomOf(seed, "special"),
      isQuiet: () => this.#ended || this.#storeFaults.needsQuiet,
      cut: (id, directions, durationMs) => this.#cut(id, directions, durationMs),
      crash: (machine, fault) => this.#crash(machine, fault),
      exchange: (machine) => {
        if (!this.#canLoseOne()) return false;
        this.#track(this.#remove(machine.id).finally(() => this.#cluster.join()));
        return true;
      },
      track: (work) => this.#track(work),
    });
    this.#rounds = new RoundPlayer(cluster, {
      crash: (machine, fault) => this.#crash(machine, fault),
      remove: (id) => this.#remove(id),
      track: (work) => this.#track(work),
    });
  }

  get rounds(): RoundCounts {
    return this.#rounds.counts;
  }

  /** Begins a storm with these faults; `heal` ends it. */
  plan(events: readonly FaultEvent[]): void {
    const { time } = this.#cluster.world;
    this.#ended = false;
    for (const { atMs, action } of events) {
      time.after(atMs, 0, () => {
        if (!this.#ended && !this.#storeFaults.needsQuiet) this.#play(action);
      });
    }
  }

  #play(action: FaultAction): void {
    const { network } = this.#cluster.world;
    switch (action.type) {
      case "crash":
        this.#with(action.target, (machine) => this.#crash(machine, action));
        break;
      case "crashAll":
        for (const machine of this.#cluster.inUse()) this.#crash(machine, action);
        break;
      case "crashNewLeaders":
        this.#leaderHunt = {
          withinMs: action.withinMs,
          untilMs: this.#cluster.world.time.nowMs + action.durationMs,
        };
        break;
      case "partition":
        this.#partition(action);
        break;
      case "isolate":
        this.#with(action.target, ({ id }) => this.#cut(id, ["in", "out"], action.durationMs));
        break;
      case "oneWay":
        this.#with(action.target, ({ id }) => this.#cut(id, [action.direction], action.durationMs));
        break;
      case "pause":
        this.#with(action.target, (machine) => this.#pause(machine, action.durationMs));
        break;
      case "clockJump":
        this.#with(action.target, (machine) => {
          machine.wallOffsetMs += action.byMs;
        });
        break;
      case "network":
        network.conditions = action.conditions;
        break;
      case "slowDisk":
      case "diskFull":
      case "syncError":
      case "bitRot":
        this.#with(action.target, (machine) => this.#hurtDisk(machine, action));
        break;
      case "loseStore":
        this.#with(action.target, (machine) => {
          if (this.#canLoseOne()) this.#storeFaults.lose(machine, action.mode);
        });
        break;
      case "restoreCopy":
        this.#with(action.target, (machine) => {
          if (this.#canLoseOne()) this.#track(this.#storeFaults.restoreCopy(machine, () => this.#canLoseOne(1)));
        });
        break;
      case "addNode":
      case "removeNode":
      case "transferLeader":
        this.#track(this.#operate(action));
        break;
      case "lateAnswers":
      case "crashInstalling":
      case "echo":
      case "demoteAndTransfer":
      case "removeUnheard":
      case "standStill":
      case "lateGrants":
        this.#special.play(action);
        break;
      case "changeMembers":
        this.#rounds.play(action);
        break;
      case "takeOver":
        this.#cluster.takeOver?.(action);
        break;
      default:
        action satisfies never;
    }
  }

  #with(target: Target, work: (machine: SimMachine) => void): void {
    const machines = this.#cluster.inUse();
    // A member that was taken over may lead, when it votes. What happens to machines happens to others.
    const leader = machines.find((candidate) => candidate === this.#cluster.leader());
    const machine = target.leader ? (leader ?? machines[0]) : machines[Math.floor(target.share * machines.length)];
    if (machine !== undefined) work(machine);
  }

  #crash(machine: SimMachine, { mode, downMs }: CrashFault): void {
    machine.crash(mode);
    machine.heldDown = true;
    this.#cluster.world.time.after(downMs, machine.id, () => {
      machine.heldDown = false;
      void machine.boot();
    });
  }

  /**
   * Two leaders go before anybody has their first entry, the third one while it repairs the others, and the fourth is
   * left alone for a while: when it is the second one again, its entry takes the place of what the third one replicated.
   */
  #hunt(nodeId: number): void {
    const { time } = this.#cluster.world;
    const machine = this.#cluster.machine(nodeId);
    if (machine === undefined || time.nowMs > this.#leaderHunt.untilMs || this.#storeFaults.needsQuiet) return;
    const turn = this.#hunted++ % 4;
    const delayMs = this.#huntDelayMs(turn);
    const [goneMsMin, goneMsMax] = huntedGoneMs[turn] ?? [0, 0];
    const goneMs = integer(this.#random, goneMsMin, goneMsMax);
    // What a node has sent travels on when it crashes; a cut link loses it.
    const isCrash = turn === 3;
    time.after(delayMs, 0, () => {
      if (this.#ended || this.#storeFaults.needsQuiet) return;
      if (isCrash) {
        this.#crash(machine, { mode: "lost", downMs: goneMs });
      } else this.#cut(nodeId, ["in", "out"], goneMs);
    });
  }

  #huntDelayMs(turn: number): number {
    if (turn === 3) return leftAloneMs;
    return turn === 2 ? this.#random.next() * this.#leaderHunt.withinMs : 0;
  }

  #partition({ cut, salt, durationMs }: Extract<FaultAction, { readonly type: "partition" }>): void {
    const side = (id: number) => randomOf(this.#seed, `side-${salt}-${id}`).next() < cut;
    const ids = this.#cluster.machines().map(({ id }) => id);
    const links = ids.flatMap((from) => ids.filter((to) => side(from) !== side(to)).map((to) => [from, to] as const));
    this.#block(links, durationMs);
  }

  #cut(id: number, directions: readonly ("in" | "out")[], durationMs: number): void {
    const others = this.#cluster.machines().filter((machine) => machine.id !== id);
    const links = others.flatMap((other) =>
      directions.map((direction) => (direction === "in" ? ([other.id, id] as const) : ([id, other.id] as const))),
    );
    this.#block(links, durationMs);
  }

  #block(links: readonly (readonly [number, number])[], durationMs: number): void {
    const { network, time } = this.#cluster.world;
    for (const [from, to] of links) network.block(from, to);
    time.after(durationMs, 0, () => {
      for (const [from, to] of links) network.unblock(from, to);
    });
  }

  #pause(machine: SimMachine, durationMs: number): void {
    const { process } = machine;
    if (process === undefined) return;
    process.pause();
    this.#cluster.world.time.after(durationMs, 0, () => process.resume());
  }

  #hurtDisk(
    machine: SimMachine,
    action: Extract<FaultAction, { readonly type: "slowDisk" | "diskFull" | "syncError" | "bitRot" }>,
  ): void {
    const { time } = this.#cluster.world;
    const { disk } = machine;
    disk.wasHurt = true;
    switch (action.type) {
      case "slowDisk":
        disk.slowness = action.factor;
        time.after(action.durationMs, 0, () => {
          disk.slowness = 1;
        });
        break;
      case "diskFull":
        disk.full = true;
        time.after(action.durationMs, 0, () => {
          disk.full = false;
        });
        break;
      case "syncError":
        disk.syncErrors = 1;
        break;
      case "bitRot":
        // One damaged disk at a time: what a majority has lost, no algorithm brings back.
        if (!this.#canLoseOne()) return;
        machine.crash("kill");
        disk.rot(action.part);
        void machine.boot();
        break;
      default:
        action satisfies never;
    }
  }

  /**
   * True when one machine can be lost for good and the others still are a majority, now and after what is under way, of
   * which `own` is the caller's.
   */
  #canLoseOne(own = 0): boolean {
    return this.#pending.size === own && this.#cluster.inUse().length > 2 && this.#cluster.isWhole();
  }

  async #operate(action: Extract<FaultAction, { readonly type: "addNode" | "removeNode" | "transferLeader" }>) {
    const members = this.#cluster.machines().filter(({ phase }) => phase !== "removed");
    switch (action.type) {
      case "addNode":
        if (members.length < clusterSizeMax) await this.#cluster.join();
        break;
      case "removeNode": {
        if (members.length <= this.#votersMin || !this.#canLoseOne()) return;
        this.#with(action.target, ({ id }) => this.#track(this.#remove(id)));
        break;
      }
      case "transferLeader":
        await this.#cluster.transferLeader(operatorTimeoutMs);
        break;
      default:
        action satisfies never;
    }
  }

  async #remove(id: number): Promise<void> {
    await this.#cluster.remove(id, operatorTimeoutMs, false);
    // Nobody switches it off at once: until then it may answer its callers.
    await new Promise<void>((resolve) => this.#cluster.world.time.after(switchOffMs, 0, resolve));
    this.#cluster.machine(id)?.retire();
  }

  /** What an operator asks for may be refused, or come too late: that is an answer too. */
  #track(work: Promise<void>): void {
    const tracked = work
      .catch(() => {})
      .finally(() => {
        this.#pending.delete(tracked);
      });
    this.#pending.add(tracked);
  }

  /** Ends all faults and starts what is down. */
  async heal(): Promise<void> {
    this.#ended = true;
    this.#leaderHunt = { withinMs: 0, untilMs: 0 };
    this.#special.heal();
    this.#cluster.calm?.();
    const { network } = this.#cluster.world;
    network.conditions = calmNetwork;
    network.heal();
    for (const machine of this.#cluster.machines()) {
      machine.disk.slowness = 1;
      machine.disk.full = false;
      machine.disk.syncErrors = 0;
      machine.heldDown = false;
      machine.process?.resume();
      void machine.boot();
    }
    await Promise.all(this.#pending);
    await this.#rounds.heal();
  }

  hasLost(): boolean {
    return this.#cluster.machines().some(({ phase }) => phase === "lost");
  }

  /**
   * Machines whose store is damaged come back without it, or are taken out of the cluster and new ones put in.
   * @throws when that does not succeed
   */
  async replaceLost(): Promise<void> {
    for (const machine of this.#cluster.machines()) {
      if (machine.phase !== "lost") continue;
      if (chance(this.#random, 0.5) && machine.recover()) continue;
      // Switched off before it is declared dead: `force` means that nothing of it runs any more.
      machine.retire();
      await this.#cluster.remove(machine.id, 4 * operatorTimeoutMs, true);
      await this.#cluster.join();
    }
  }
}
