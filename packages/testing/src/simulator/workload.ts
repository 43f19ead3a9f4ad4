/** Clients that read, write and compare-and-swap a few keys, and one that starts and stops VMs. */
import { errorCodeOf, type Random, sleep } from "@blixard/common";
import { vmSpecSchema } from "@blixard/protocol";
import type { History, KvCall, KvOperation, KvOutcome } from "./history.ts";
import type { RaftChecker } from "./raft-checker.ts";
import { chance, integer, pick } from "./seeds.ts";
import { mayPass, outcomeOf } from "./sim-caller.ts";
import type { SimCluster } from "./sim-cluster.ts";
import type { Violations } from "./violation.ts";

export interface WorkloadOptions {
  readonly clients: number;
  readonly keys: number;
  /** Mean milliseconds between two calls of one client. */
  readonly thinkMs: number;
  /** One more asks for what the members say of themselves, so that each is asked something. */
  readonly asksMembers: boolean;
}

export interface WorkloadDeps {
  readonly cluster: SimCluster;
  readonly history: History;
  readonly checker: RaftChecker;
  readonly violations: Violations;
  readonly random: Random;
}

const callTimeoutMs = 4_000;
/** After so long a client leaves a call without an answer, and goes on. */
const giveUpMs = 12_000;
const retryMsMax = 400;
const impatientShare = 0.3;
const askMs = 1_000;

const vastMiB = 100_000;
const simLabels = { app: "sim" };
const simPlacement = { affinity: [{ type: "apart", vms: simLabels, soft: true }] } as const;
/** That a VM may be started elsewhere from now on must not come true while a process runs that knows nothing of it. */
const changes = [
  { memoryMiB: 64 },
  { memoryMiB: 128, onNodeLoss: "wait", onPartition: "keep" },
  { onNodeLoss: "move", onPartition: "stop" },
] as const;

export class Workload {
  readonly #deps: WorkloadDeps;
  readonly #options: WorkloadOptions;
  #stopping = new AbortController();
  #values = 0;
  #acknowledged = 0;
  #acknowledgedMax = 0;
  #running: Promise<unknown> = Promise.resolve();

  constructor(deps: WorkloadDeps, options: WorkloadOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Writes that a client was told to be done. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** The largest index of a write that a client was told to be done. */
  get acknowledgedMax(): number {
    return this.#acknowledgedMax;
  }

  start(): void {
    this.#stopping = new AbortController();
    const clients = Array.from({ length: this.#options.clients }, () => this.#client());
    const others = [this.#vmClient(), ...(this.#options.asksMembers ? [this.#askingClient()] : [])];
    this.#running = Promise.all([...clients, ...others]);
  }

  /** Resolves when every client has ended its last call. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Reads every key once: the last word of the history. */
  async readAll(): Promise<void> {
    for (let key = 0; key < this.#options.keys; key++) await this.#perform(`k${key}`, { type: "get" }, giveUpMs);
  }

  async #client(): Promise<void> {
    const { random } = this.#deps;
    while (!this.#stopping.signal.aborted) {
      if (!(await this.#think(this.#options.thinkMs))) return;
      await this.#perform(`k${integer(random, 0, this.#options.keys - 1)}`, this.#choose(), giveUpMs);
    }
  }

  /** Waits for `meanMs` in the mean; false when the clients are to stop. */
  async #think(meanMs: number): Promise<boolean> {
    const { cluster, random } = this.#deps;
    const delayMs = -Math.log(1 - random.next()) * meanMs;
    await sleep(cluster.outside.clock, delayMs, this.#stopping.signal).catch(() => {});
    return !this.#stopping.signal.aborted;
  }

  #choose(): KvCall {
    const { random } = this.#deps;
    const dice = random.next();
    if (dice < 0.4) return { type: "get" };
    if (dice < 0.75) return { type: "put", value: this.#value() };
    if (dice < 0.82) return { type: "delete" };
    const from = chance(random, 0.3) || this.#values === 0 ? null : `v${this.#values - integer(random, 0, 3)}`;
    return { type: "cas", from, to: this.#value() };
  }

  #value(): string {
    this.#values++;
    return `v${this.#values}`;
  }

  async #perform(key: string, call: KvCall, giveUpAfterMs: number): Promise<void> {
    const { cluster, history, random } = this.#deps;
    const operation = history.begin(key, call);
    const requestId = cluster.requestId();
    const endMs = cluster.world.time.nowMs + giveUpAfterMs;
    // Some clients believe the first answer, whatever it is.
    const isPatient = call.type === "get" || !chance(random, impatientShare);
    let mayHaveHappened = false;
    while (cluster.world.time.nowMs < endMs) {
      const machines = cluster.inUse();
      if (machines.length > 0) {
        try {
          history.end(operation, await this.#callOnce(pick(random, machines), operation, requestId));
          return;
        } catch (error) {
          if (!mayPass(error)) this.#refused(operation, error);
          mayHaveHappened ||= outcomeOf(error) === "unknown";
          if (!isPatient) break;
        }
      }
      await cluster.sleep(random.next() * retryMsMax);
    }
    if (!mayHaveHappened || call.type === "get") history.forget(operation);
  }

  #refused({ key, call }: KvOperation, error: unknown): void {
    const text = `${call.type} ${key} was refused with ${errorCodeOf(error)}: ${String(error)}`;
    this.#deps.violations.report("a good call is not refused", text);
  }

  async #callOnce(
    machine: Parameters<SimCluster["call"]>[0],
    { key, call }: KvOperation,
    requestId: string,
  ): Promise<KvOutcome> {
    const { cluster } = this.#deps;
    const options = { requestId, timeoutMs: callTimeoutMs };
    try {
      switch (call.type) {
        case "get":
          return { type: "read", value: (await cluster.call(machine, "kv.get", { key }, options)).value };
        case "put": {
          const { index, term } = await cluster.call(machine, "kv.put", { key, value: call.value }, options);
          return this.#written(index, term, { type: "done" });
        }
        case "delete": {
          const { index, term } = await cluster.call(machine, "kv.delete", { key }, options);
          return this.#written(index, term, { type: "done" });
        }
        case "cas": {
          const request = { key, from: call.from, to: call.to };
          const { index, term, swapped } = await cluster.call(machine, "kv.cas", request, options);
          return this.#written(index, term, { type: "swapped", swapped });
        }
        default:
          return call satisfies never;
      }
    } catch (error) {
      if (errorCodeOf(error) !== "KEY_NOT_FOUND") throw error;
      return call.type === "get" ? { type: "read", value: null } : { type: "absent" };
    }
  }

  #written(index: number, term: number, outcome: KvOutcome): KvOutcome {
    const { checker, violations } = this.#deps;
    this.#acknowledged++;
    this.#acknowledgedMax = Math.max(this.#acknowledgedMax, index);
    const committed = checker.appliedAt(index);
    if (committed?.term !== term) {
      const there = committed === undefined ? "nothing" : `an entry of term ${committed.term}`;
      const detail = `a write was acknowledged at ${index} in term ${term}, where the cluster has applied ${there}`;
      violations.report("no acknowledged write is lost", detail);
    }
    return outcome;
  }

  /** Creates, changes, stops, starts and deletes a few VMs; what the cluster answers does not matter, where they run does. */
  async #vmClient(): Promise<void> {
    const { random } = this.#deps;
    while (!this.#stopping.signal.aborted) {
      if (!(await this.#think(4 * this.#options.thinkMs))) return;
      const name = `vm${integer(random, 0, 2)}`;
      await this.#changeVm(name).catch(() => {});
    }
  }

  /** What it is told does not matter. */
  async #askingClient(): Promise<void> {
    const { cluster, random } = this.#deps;
    while (await this.#think(askMs)) {
      const name = `vm${integer(random, 0, 2)}`;
      await cluster.callAny("vm.consoleRead", { name, offset: 0 }, callTimeoutMs).catch(() => {});
      await cluster.callAny("node.list", {}, callTimeoutMs).catch(() => {});
    }
  }

  async #changeVm(name: string): Promise<void> {
    const { cluster, random } = this.#deps;
    const dice = random.next();
    if (dice < 0.3) {
      // One that fits nowhere waits until it is made smaller.
      const memoryMiB = chance(random, 0.2) ? vastMiB : 64;
      const spec = vmSpecSchema.parse({ memoryMiB, image: "demo", placement: simPlacement });
      await cluster.callAny("vm.create", { name, spec, desired: "running", labels: simLabels }, callTimeoutMs);
      return;
    }
    if (dice < 0.5) {
      const spec = changes[integer(random, 0, changes.length - 1)];
      const labels = { turn: String(integer(random, 0, 3)) };
      await cluster.callAny("vm.set", { name, labels, ...(spec === undefined ? {} : { spec }) }, callTimeoutMs);
      return;
    }
    const desired = dice < 0.65 ? "stopped" : dice < 0.88 ? "running" : "deleted";
    const restart = desired === "running" && chance(random, 0.3);
    await cluster.callAny("vm.desire", { name, desired, restart, force: false }, callTimeoutMs);
  }
}
