/** RaftNodes over Level in temporary directories of one process, connected in memory. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, discardMetrics, seededRandom, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import {
  type AppliedState,
  asNodeId,
  type Entry,
  emptyConfState,
  openRaftNode,
  type RaftNode,
  type RaftNodeOptions,
  type StateMachine,
} from "@blixard/raft";
import { asLogIndex, asTerm } from "@blixard/raft/core";
import { MemoryNetwork } from "@blixard/raft/testing";
import { type LevelStorage, openLevelStorage } from "@blixard/storage/level";

/** Runs `work` with an empty directory and removes it afterwards. */
export async function withDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "blixard-bench-"));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Counts payloads, so that what is measured is Raft and the disk. */
export class CountingMachine implements StateMachine<number> {
  #applied: AppliedState;
  count = 0;

  constructor(applied?: AppliedState) {
    this.#applied = applied ?? { index: asLogIndex(0), term: asTerm(0), confState: emptyConfState() };
  }

  async load(): Promise<AppliedState> {
    return this.#applied;
  }

  async apply(entries: readonly Entry[], after: AppliedState): Promise<readonly (number | undefined)[]> {
    this.#applied = after;
    return entries.map((entry) => {
      if (entry.kind !== "normal" || entry.data.length === 0) return undefined;
      this.count++;
      return this.count;
    });
  }

  async snapshot() {
    return { at: this.#applied, chunks: nothing() };
  }

  async restore(at: AppliedState): Promise<void> {
    this.#applied = at;
  }

  async flush(): Promise<void> {}
  async close(): Promise<void> {}
}

async function* nothing(): AsyncIterable<Uint8Array> {}

export interface LevelMember<Result> {
  readonly node: RaftNode<Result>;
  readonly storage: LevelStorage;
}

/** Starts one node; it ends the process when a write fails. */
export async function startMember<Result>(
  storage: LevelStorage,
  network: MemoryNetwork,
  stateMachine: StateMachine<Result>,
  options: RaftNodeOptions,
): Promise<LevelMember<Result>> {
  const node = await openRaftNode<Result>(
    {
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      metrics: discardMetrics,
      log: storage.log,
      snapshots: storage.snapshots,
      stateMachine,
      transport: network.transport(options.id),
      onFatal: (error) => {
        throw error;
      },
    },
    options,
  );
  return { node, storage };
}

/** A group of voters with state machines that count. */
export class LevelGroup {
  readonly #members: readonly LevelMember<number>[];
  readonly #machines: readonly CountingMachine[];

  private constructor(members: readonly LevelMember<number>[], machines: readonly CountingMachine[]) {
    this.#members = members;
    this.#machines = machines;
  }

  static async start(directory: string, count: number): Promise<LevelGroup> {
    const network = new MemoryNetwork({ random: seededRandom(1) });
    const voters = Array.from({ length: count }, (_, at) => asNodeId(at + 1));
    const machines = voters.map(() => new CountingMachine());
    const members: LevelMember<number>[] = [];
    for (const [at, id] of voters.entries()) {
      const storage = await openLevelStorage({ dataDir: join(directory, `node-${id}`) });
      const machine = machines[at];
      assert(machine !== undefined, "every node has a machine");
      members.push(await startMember(storage, network, machine, { id, bootstrap: { voters }, snapshotEntries: 0 }));
    }
    return new LevelGroup(members, machines);
  }

  /** The node that may decide. */
  async leader(): Promise<RaftNode<number>> {
    return await Promise.race(
      this.#members.map(async ({ node }) => {
        await node.status.until(({ ready }) => ready);
        return node;
      }),
    );
  }

  /** Waits until every node has applied what the leader has, and returns how many payloads that were. */
  async applied(): Promise<readonly number[]> {
    const { appliedIndex } = (await this.leader()).status.value;
    for (const { node } of this.#members) await node.status.until((status) => status.appliedIndex >= appliedIndex);
    return this.#machines.map(({ count }) => count);
  }

  async close(): Promise<void> {
    for (const { node, storage } of this.#members) {
      await node.close();
      await storage.close();
    }
  }
}
