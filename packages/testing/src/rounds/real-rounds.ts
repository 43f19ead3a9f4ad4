/**
 * Membership changes of a cluster of real processes under clients, each with the leader killed in its middle: what the
 * simulator does in `simulator/membership-rounds.ts`, and the same judge of what the clients saw.
 */
import { type BlixardClient, connectClient } from "@blixard/client";
import { BlixardError, errorCodeOf, type Random, seededRandom, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessCluster } from "../process-cluster.ts";
import { History } from "../simulator/history.ts";
import { checkRegister } from "../simulator/linearizability.ts";
import { integer, pick } from "../simulator/seeds.ts";
import { outcomeOf } from "../simulator/sim-caller.ts";
import { HistoryClients } from "./history-clients.ts";

export interface RealRoundsOptions {
  /** Path of the built binary. */
  readonly binary: string;
  readonly rounds: number;
  readonly seed: number;
  /** Called with one line for people after each round. */
  readonly onProgress?: (text: string) => void;
}

export interface RealRoundsResult {
  readonly rounds: number;
  /** Changes that were answered with success. */
  readonly done: number;
  readonly operations: number;
  /** What is wrong, for people. */
  readonly problems: readonly string[];
}

const changes = ["grow", "demote", "promote", "replace", "shrink"] as const;
type ChangeKind = (typeof changes)[number];

const changeTimeoutMs = 60_000;
const wholeTimeoutMs = 120_000;
const settleMs = 2_000;
const downMsMin = 300;
const downMsMax = 3_000;

/** @throws when the cluster does not form, or is not one again after a round */
export async function runRealRounds(options: RealRoundsOptions): Promise<RealRoundsResult> {
  const { binary, rounds, seed, onProgress = () => {} } = options;
  const cluster = await ProcessCluster.start({ binary, flags: ["--vm-driver", "fake", "--log-level", "warn"] });
  try {
    // The token of a node goes with its vote.
    await cluster.useOwnToken();
    const run = new RealRounds(cluster, seededRandom(seed));
    await run.play(rounds, onProgress);
    return run.result();
  } finally {
    await cluster.close();
  }
}

class RealRounds {
  readonly #cluster: ProcessCluster;
  readonly #random: Random;
  readonly #history = new History();
  readonly #clients: HistoryClients;
  readonly #problems: string[] = [];
  /** Members that vote, or are to. */
  readonly #voters = new Set<number>();
  readonly #demoted: number[] = [];
  #nextId: number;
  #rounds = 0;
  #done = 0;

  constructor(cluster: ProcessCluster, random: Random) {
    this.#cluster = cluster;
    this.#random = random;
    for (const { id } of cluster.nodes) this.#voters.add(id);
    this.#nextId = cluster.nodes.length + 1;
    this.#clients = new HistoryClients({
      ...{ history: this.#history, random, problem: (text) => this.#problems.push(text) },
      connect: () => this.#connect(),
    });
  }

  async play(rounds: number, onProgress: (text: string) => void): Promise<void> {
    this.#clients.start();
    try {
      for (let round = 0; round < rounds; round++) {
        const change = changes[round % changes.length] ?? "grow";
        const text = await this.#round(change);
        onProgress(`round ${round + 1}: ${text}`);
      }
    } finally {
      await this.#clients.stop();
    }
    await this.#clients.readAll();
    for (const [key, operations] of this.#history.byKey()) {
      const verdict = checkRegister(operations);
      if (verdict.type === "violation") this.#problems.push(`${key} is not linearizable: ${verdict.detail}`);
      if (verdict.type === "undecided") this.#problems.push(`the history of ${key} is too tangled to decide about`);
    }
  }

  result(): RealRoundsResult {
    return { rounds: this.#rounds, done: this.#done, operations: this.#history.count, problems: this.#problems };
  }

  /** A client of the members that vote; others would only send it on. */
  #connect(): BlixardClient {
    const nodes = this.#cluster.nodes.filter(({ id, isRunning }) => isRunning && this.#voters.has(id));
    const addresses = nodes.map(({ ready }) => ready.http);
    return connectClient({ addresses, token: this.#cluster.token, timeoutMs: 10_000, unreachableMs: 10_000 });
  }

  async #round(change: ChangeKind): Promise<string> {
    this.#rounds++;
    const leader = await this.#cluster.waitForLeader();
    const startedMs = systemClock.monotonicMs();
    const killAfterMs = this.#random.next() < 0.5 ? integer(this.#random, 0, 60) : integer(this.#random, 60, 800);
    const killed = this.#killLeader(killAfterMs, integer(this.#random, downMsMin, downMsMax));
    const told = await this.#change(change, leader).then(
      () => {
        this.#done++;
        return "done";
      },
      (error: unknown) => `${errorCodeOf(error)} (${outcomeOf(error)})`,
    );
    const victim = await killed;
    await this.#untilWhole();
    this.#clients.reconnect();
    const seconds = ((systemClock.monotonicMs() - startedMs) / 1_000).toFixed(1);
    return `${change}, leader ${victim} killed after ${killAfterMs} ms: ${told}, whole after ${seconds} s`;
  }

  /** Kills whoever leads by then, and starts it again, if it is still a member. Resolves with its id. */
  async #killLeader(afterMs: number, downMs: number): Promise<number> {
    await sleep(systemClock, afterMs);
    const id = await this.#cluster.waitForLeader();
    await this.#cluster.kill(id);
    await sleep(systemClock, downMs);
    await this.#cluster.restart(id).catch((error: unknown) => {
      // One that was removed meanwhile ends again.
      if (this.#voters.has(id)) throw error;
    });
    return id;
  }

  async #change(change: ChangeKind, leader: number): Promise<void> {
    switch (change) {
      case "grow":
        return this.#grow();
      case "demote": {
        const id = this.#victim(leader);
        this.#voters.delete(id);
        this.#demoted.push(id);
        return this.#ask(id, "learner", (client) => client.members.setRole(id, "learner", false, limits));
      }
      case "promote": {
        const id = this.#demoted[0];
        if (id === undefined) throw new BlixardError("CONFLICT", "nobody is demoted");
        await this.#ask(id, "voter", (client) => client.members.setRole(id, "voter", false, limits));
        this.#demoted.shift();
        this.#voters.add(id);
        return;
      }
      case "replace":
        await this.#remove(this.#victim(leader));
        return this.#grow();
      case "shrink":
        return this.#remove(this.#victim(leader));
      default:
        return change satisfies never;
    }
  }

  /** The leader in half of the rounds. */
  #victim(leader: number): number {
    const ids = [...this.#voters];
    return this.#random.next() < 0.5 && this.#voters.has(leader) ? leader : pick(this.#random, ids);
  }

  async #grow(): Promise<void> {
    const id = this.#nextId++;
    await this.#cluster.addNode(id);
    this.#voters.add(id);
  }

  async #remove(id: number): Promise<void> {
    this.#voters.delete(id);
    await this.#ask(id, "removed", (client) => client.members.remove(id, false, undefined, limits));
    await this.#cluster.kill(id);
  }

  /** One call of an operator. What it is told to be not applied is looked for afterwards. */
  async #ask(id: number, becomes: string, work: (client: BlixardClient) => Promise<unknown>): Promise<void> {
    const client = this.#connect();
    try {
      await work(client);
    } catch (error) {
      if (outcomeOf(error) !== "not_applied") throw error;
      await sleep(systemClock, settleMs);
      const role = await this.#roleOf(id);
      if (role === becomes) this.#problems.push(`node ${id} is ${role}, which was refused as not applied`);
      throw error;
    } finally {
      client.close();
    }
  }

  async #roleOf(id: number): Promise<string> {
    const leader = await this.#cluster.waitForLeader();
    const { members } = await this.#cluster.status(leader);
    return members.find((member) => member.id === id)?.role ?? "removed";
  }

  /** The members are those that run, the voters vote, and somebody leads them. */
  async #untilWhole(): Promise<void> {
    await this.#cluster.waitFor(
      `a leader of the voters ${[...this.#voters].join(", ")}`,
      ({ leaderId, role, members }) =>
        role === "leader" &&
        leaderId !== null &&
        [...this.#voters].every((id) => members.some((one) => one.id === id && one.role === "voter")),
      wholeTimeoutMs,
    );
  }
}

const limits = { timeoutMs: changeTimeoutMs };
