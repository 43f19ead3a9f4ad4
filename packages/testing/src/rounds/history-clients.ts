/** Clients of the key-value store of real nodes, whose calls and answers are kept for the judge. */
import type { BlixardClient } from "@blixard/client";
import { errorCodeOf, type Random, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { History, KvCall, KvOutcome } from "../simulator/history.ts";
import { integer } from "../simulator/seeds.ts";
import { outcomeOf } from "../simulator/sim-caller.ts";

export interface HistoryClientsDeps {
  readonly history: History;
  readonly random: Random;
  /** A client of the members of this moment. */
  readonly connect: () => BlixardClient;
  /** Told of answers that no good call gets. */
  readonly problem: (text: string) => void;
}

const clientCount = 4;
const keyCount = 4;
const thinkMsMax = 100;
/** Codes that a faulty world explains. */
const badCodes = new Set(["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL", "ANSWER_UNREADABLE"]);

export class HistoryClients {
  readonly #deps: HistoryClientsDeps;
  #running: Promise<unknown> = Promise.resolve();
  #stopping = false;
  #generation = 0;
  #values = 0;

  constructor(deps: HistoryClientsDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#running = Promise.all(Array.from({ length: clientCount }, () => this.#run()));
  }

  /** The members changed: who calls next looks for them anew. */
  reconnect(): void {
    this.#generation++;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** Reads every key once: the last word of the history. */
  async readAll(): Promise<void> {
    const client = this.#deps.connect();
    for (let key = 0; key < keyCount; key++) await this.#perform(client, `k${key}`, { type: "get" });
    client.close();
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const generation = this.#generation;
      const client = this.#deps.connect();
      while (!this.#stopping && generation === this.#generation) {
        await this.#perform(client, `k${integer(this.#deps.random, 0, keyCount - 1)}`, this.#choose());
        await sleep(systemClock, this.#deps.random.next() * thinkMsMax);
      }
      client.close();
    }
  }

  #choose(): KvCall {
    const dice = this.#deps.random.next();
    if (dice < 0.4) return { type: "get" };
    const value = `v${++this.#values}`;
    if (dice < 0.75) return { type: "put", value };
    if (dice < 0.8) return { type: "delete" };
    return { type: "cas", from: `v${Math.max(1, this.#values - integer(this.#deps.random, 1, 8))}`, to: value };
  }

  async #perform(client: BlixardClient, key: string, call: KvCall): Promise<void> {
    const { history, problem } = this.#deps;
    const operation = history.begin(key, call);
    try {
      history.end(operation, await ask(client, key, call));
    } catch (error) {
      const code = errorCodeOf(error) ?? "none";
      if (badCodes.has(code)) problem(`${call.type} ${key} was refused with ${code}: ${String(error)}`);
      if (call.type === "get" || outcomeOf(error) === "not_applied") history.forget(operation);
    }
  }
}

async function ask(client: BlixardClient, key: string, call: KvCall): Promise<KvOutcome> {
  switch (call.type) {
    case "get":
      return { type: "read", value: (await client.kv.get(key))?.value ?? null };
    case "put":
      await client.kv.put(key, call.value);
      return { type: "done" };
    case "delete":
      try {
        await client.kv.delete(key);
        return { type: "done" };
      } catch (error) {
        if (errorCodeOf(error) === "KEY_NOT_FOUND") return { type: "absent" };
        throw error;
      }
    case "cas":
      return { type: "swapped", swapped: (await client.kv.cas(key, call.from, call.to)).swapped };
    default:
      return call satisfies never;
  }
}
