import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { discardMetrics, fromUtf8, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { asNodeId, openRaftNode, type RaftNode } from "@blixard/raft";
import { AppendLogMachine } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { openLevelStorage } from "./open-level-storage.ts";

const options = { id: asNodeId(1), bootstrap: { voters: [asNodeId(1)] }, trailingEntries: 3 };

async function startNode(dataDir: string, stateMachine: AppendLogMachine): Promise<RaftNode<number>> {
  const { log, snapshots, state } = await openLevelStorage({ dataDir });
  await state.close();
  const node = await openRaftNode<number>(
    {
      ...{ clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics },
      ...{ log, snapshots, stateMachine },
      transport: { bind: () => {}, send: () => false },
      onFatal: (error) => {
        throw error;
      },
    },
    options,
  );
  await node.status.until(({ ready }) => ready);
  return node;
}

describe("RaftNode on Level", () => {
  it("rebuilds a lost state from its snapshot and its log", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "blixard-raft-level-"));
    const values = Array.from({ length: 60 }, (_, at) => `value ${at}`);
    const first = await startNode(dataDir, new AppendLogMachine());
    await Promise.all(values.slice(0, 40).map((value) => first.propose(fromUtf8(value))));
    await first.takeSnapshot();
    for (const value of values.slice(40)) await first.propose(fromUtf8(value));
    const { term } = first.status.value;
    await first.close();

    const machine = new AppendLogMachine();
    const second = await startNode(dataDir, machine);
    expect(machine.values).toEqual(values);
    expect(second.status.value.term).toBeGreaterThan(term);
    expect(second.status.value.snapshotIndex).toBeGreaterThan(40);
    expect((await second.propose(fromUtf8("more"))).result).toBe(61);
    await second.close();
    await rm(dataDir, { recursive: true });
  });
});
