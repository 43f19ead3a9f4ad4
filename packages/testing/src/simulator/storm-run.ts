/**
 * One run of whatever is simulated, a function of its seed:
 *
 *     form -> storm: faults and clients -> liveness: no faults, must converge -> rest: must stay as it is -> last checks
 *              ^--------------------------------- (long runs) ---------------------------------+
 */
import { type Logger, messageOf, silentLogger } from "@blixard/common";
import type { PeerMessage } from "@blixard/raft";
import type { ForgedCounts } from "./byzantine/forged-counts.ts";
import { FaultPlayer } from "./fault-player.ts";
import { type FaultEvent, generateStorms, type Storm } from "./fault-schedule.ts";
import type { FaultTarget } from "./fault-target.ts";
import { RaftChecker } from "./raft-checker.ts";
import type { RoundCounts } from "./round-player.ts";
import { randomOf } from "./seeds.ts";
import type { SimWorld } from "./sim-machine.ts";
import { SimNetwork } from "./sim-network.ts";
import { Trace } from "./trace.ts";
import { type Violation, Violations } from "./violation.ts";
import { VirtualTime } from "./virtual-time.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** Voters at the start. Default: 3. */
  readonly nodes?: number;
  /** Ticks of storms and rests, of 50 virtual milliseconds each. Default: 1,000. */
  readonly ticks?: number;
  /**
   * A storm takes 1,000 ticks. In a longer run the cluster then has so many ticks of rest, in which no leader may be
   * lost, before the next one. Default: 4,000; 0 makes the whole run one storm.
   */
  readonly restTicks?: number;
  /** Numbers of the planned faults that happen; the others are left out. Default: all. */
  readonly keepFaults?: readonly number[];
  /** Mean milliseconds between two calls of one client. Default: 500, 2,000 or 5,000, by the seed. */
  readonly thinkMs?: number;
  /** Some members were taken over: a worker, a learner and, in half of the runs, a witness. Clusters only. */
  readonly byzantine?: boolean;
  /** The faults are membership changes, in the middle of which the leader ends. Clusters only. */
  readonly rounds?: boolean;
  /** Gets what the nodes log. */
  readonly logger?: (nodeId: number, nowMs: () => number) => Logger;
}

export interface SimulationResult {
  readonly seed: number;
  readonly violation: Violation | undefined;
  /** Equal for equal runs. */
  readonly traceHash: string;
  /** Ticks of the whole cluster that were simulated, in all phases. */
  readonly clusterTicks: number;
  readonly events: number;
  readonly faults: readonly FaultEvent[];
  readonly operations: number;
  readonly acknowledgedWrites: number;
  readonly appliedEntries: number;
  readonly leaders: number;
  /** Keys whose history was too tangled to decide about. */
  readonly undecided: number;
  /** What became of what members that were taken over made up, by its kind. Empty without such members. */
  readonly forged: ForgedCounts;
  /** Of membership changes. */
  readonly rounds: RoundCounts;
}

/** What a run looks at beside Raft itself. */
export interface Subject {
  readonly machines: FaultTarget;
  /** @throws when no cluster of `count` voters comes up in a calm world */
  form(count: number): Promise<void>;
  startClients(): void;
  /** Resolves when the clients have ended what they were doing, and have looked at everything once more. */
  stopClients(): Promise<void>;
  /** Why the cluster is not one yet; undefined when every member is up and has applied what is committed. */
  whatIsMissing(): string | undefined;
  /** After each storm, when nothing is missing. */
  checkStates(): void;
  /** After that, while everything is calm: what needs a schedule of its own. */
  probe?(): Promise<void>;
  /** After the last one. */
  checkHistory(): void;
  counts(): Pick<SimulationResult, "operations" | "acknowledgedWrites" | "undecided"> &
    Partial<Pick<SimulationResult, "forged">>;
}

const tickMs = 50;
const stormTicks = 1_000;
const restTicksDefault = 4_000;
const formMsMax = 120_000;
const convergeMsMax = 120_000;
const pollMs = 100;

export class StormRun {
  readonly world: SimWorld;
  readonly #options: SimulationOptions;
  readonly #storms: readonly Storm[];
  readonly #keep: ReadonlySet<number> | undefined;
  readonly #trace = new Trace();
  readonly #time = new VirtualTime(this.#trace);
  readonly #violations = new Violations();
  readonly #checker = new RaftChecker(this.#violations);
  #player: FaultPlayer | undefined;

  constructor(options: SimulationOptions) {
    const { seed, ticks = stormTicks, restTicks = restTicksDefault, keepFaults, logger } = options;
    this.#options = options;
    const length = { totalMs: ticks * tickMs, stormMs: stormTicks * tickMs, restMs: restTicks * tickMs };
    this.#storms = generateStorms(seed, length, {
      takeOvers: options.byzantine === true,
      rounds: options.rounds === true,
    });
    this.#keep = keepFaults === undefined ? undefined : new Set(keepFaults);
    const time = this.#time;
    this.#violations.setNow(() => ({ atMs: time.nowMs, step: time.eventCount }));
    const network = new SimNetwork(time, randomOf(seed, "network"), (from, to, message) => {
      this.#trace.mix(from * 65_536 + to, tracedNumber(message));
      this.#checker.sent(from, to, message);
    });
    this.world = {
      ...{ seed, time, network, checker: this.#checker, violations: this.#violations },
      logger: (nodeId) => logger?.(nodeId, () => time.nowMs) ?? silentLogger,
    };
  }

  /** @throws never because of a violation: it is part of the result */
  async run(subject: Subject): Promise<SimulationResult> {
    let ended = false;
    this.#script(subject)
      .catch((error: unknown) => this.#violations.report("the scenario can be played", messageOf(error)))
      .finally(() => {
        ended = true;
      });
    const stormsMs = this.#storms.reduce((sum, { durationMs, restMs }) => sum + durationMs + restMs, 0);
    const endMs = formMsMax + stormsMs + 4 * convergeMsMax * this.#storms.length;
    await this.#time.runUntil(endMs, () => ended || this.#violations.first !== undefined);
    if (!ended && this.#violations.first === undefined) {
      this.#violations.report("the cluster recovers when the faults end", "the run did not end");
    }
    return {
      seed: this.#options.seed,
      violation: this.#violations.first,
      traceHash: this.#trace.digest(),
      clusterTicks: Math.floor(this.#time.nowMs / tickMs),
      events: this.#time.eventCount,
      faults: this.#storms.flatMap(({ faults }) => faults),
      forged: new Map(),
      rounds: this.#player?.rounds ?? { rounds: 0, done: 0, killed: 0 },
      ...subject.counts(),
      appliedEntries: this.#checker.appliedMax,
      leaders: this.#checker.leaderCount,
    };
  }

  async #script(subject: Subject): Promise<void> {
    const { seed, nodes = 3 } = this.#options;
    const player = new FaultPlayer(subject.machines, seed, nodes);
    this.#player = player;
    await subject.form(nodes);
    let first = 0;
    for (const storm of this.#storms) {
      await this.#play(subject, player, storm, first);
      first += storm.faults.length;
    }
    subject.checkHistory();
  }

  /** `first` is the number of the first fault of this storm in the whole run. */
  async #play(subject: Subject, player: FaultPlayer, storm: Storm, first: number): Promise<void> {
    const { faults, durationMs, restMs } = storm;
    const keep = this.#keep;
    player.plan(keep === undefined ? faults : faults.filter((_, at) => keep.has(first + at)));
    subject.startClients();
    await this.#sleep(durationMs);
    const restEndMs = this.#time.nowMs + restMs;
    await player.heal();
    await this.#converge(subject, player);
    subject.checkStates();
    await subject.probe?.();
    if (restEndMs > this.#time.nowMs) await this.#rest(restEndMs - this.#time.nowMs);
  }

  async #converge(subject: Subject, player: FaultPlayer): Promise<void> {
    const endMs = this.#time.nowMs + convergeMsMax;
    await this.#until(() => subject.machines.leader() !== undefined, endMs);
    await player.replaceLost();
    await subject.stopClients();
    const isWhole = () => subject.whatIsMissing() === undefined;
    // A machine that was just starting when the faults ended may find its store damaged only now.
    while (await this.#until(() => isWhole() || player.hasLost(), endMs)) {
      if (isWhole()) return;
      await player.replaceLost();
    }
    this.#violations.report("the cluster recovers when the faults end", subject.whatIsMissing() ?? "");
  }

  /** Nothing goes wrong, so nothing may happen: nobody has a reason to look for another leader. */
  async #rest(durationMs: number): Promise<void> {
    const before = this.#checker.leaderCount;
    await this.#sleep(durationMs);
    const after = this.#checker.leaderCount;
    if (after === before) return;
    this.#violations.report("a calm cluster keeps its leader", `${after - before} new leaders in a rest`);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#time.after(delayMs, 0, resolve);
    });
  }

  async #until(holds: () => boolean, endMs: number): Promise<boolean> {
    while (!holds()) {
      if (this.#time.nowMs >= endMs) return false;
      await this.#sleep(pollMs);
    }
    return true;
  }
}

/** What tells one message from another in the trace. */
function tracedNumber(message: PeerMessage): number {
  switch (message.type) {
    case "raft":
    case "snapshotChunk":
      return message.message.term * 2 ** 20 + message.message.index;
    case "snapshotAck":
      return message.term * 2 ** 20 + message.index;
    case "proposal":
      return message.term * 2 ** 20 + message.sequence;
    case "proposalAnswer":
      return message.sequence;
    default:
      return message satisfies never;
  }
}
