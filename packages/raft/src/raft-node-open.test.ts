import { fromUtf8, seededRandom } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asLogIndex, asNodeId, asTerm } from "./core/types.ts";
import { openRaftNode } from "./raft-node.ts";
import { AppendLogMachine, MemoryNetwork, memoryPorts } from "./testing/index.ts";

const id = asNodeId(1);
const network = new MemoryNetwork({ random: seededRandom(1) });

describe("openRaftNode", () => {
  it("resolves with a node that knows at once what its stores hold", async () => {
    const ports = { ...memoryPorts(network, id), stateMachine: new AppendLogMachine() };
    const first = await openRaftNode(ports, { id, bootstrap: { voters: [id] } });
    await first.status.until(({ ready }) => ready);
    const { index, term } = await first.propose(fromUtf8("a"));
    await first.close();

    const second = await openRaftNode(ports, { id });
    expect(second.status.value).toMatchObject({ appliedIndex: index, lastLogIndex: index, term });
    expect(second.coreStatus()).toMatchObject({ id, applied: index });
    await second.close();
  });

  it("rejects where the stores contradict each other, and leaves the ports to the caller", async () => {
    const ports = memoryPorts(network, id);
    const stateMachine = new AppendLogMachine();
    await stateMachine.restore({ ...stateMachine.applied, index: asLogIndex(5), term: asTerm(1) }, nothing());
    const closed: string[] = [];
    stateMachine.close = async () => void closed.push("state machine");
    ports.log.close = async () => void closed.push("log");
    ports.snapshots.close = async () => void closed.push("snapshots");
    await expect(openRaftNode({ ...ports, stateMachine }, { id })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(closed).toEqual([]);
  });
});

async function* nothing(): AsyncIterable<Uint8Array> {}
