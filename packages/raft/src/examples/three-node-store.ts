import { discardMetrics, fromUtf8, silentLogger, toUtf8 } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { asNodeId, createRaftNode, memoryStateMachine } from "@blixard/raft";
import { MemoryLogStore, MemoryNetwork, MemorySnapshotStore } from "@blixard/raft/testing";

const network = new MemoryNetwork({ random: systemRandom });
const voters = [1, 2, 3].map(asNodeId);
const members = voters.map((id) => {
  const values = new Map<string, string>();
  const stateMachine = memoryStateMachine<string | undefined>({
    apply: (data) => {
      const { key, value } = JSON.parse(toUtf8(data));
      const before = values.get(key);
      values.set(key, value);
      return before;
    },
    save: () => fromUtf8(JSON.stringify([...values])),
    load: (bytes) => {
      values.clear();
      for (const [key, value] of JSON.parse(toUtf8(bytes))) values.set(key, value);
    },
  });
  const stores = { log: new MemoryLogStore(), snapshots: new MemorySnapshotStore(), stateMachine };
  const ports = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics };
  const deps = { ...ports, ...stores, transport: network.transport(id), onFatal: console.error };
  return { values, node: createRaftNode(deps, { id, bootstrap: { voters } }) };
});
for (const { node } of members) await node.start();
for (const { node } of members) await node.status.until(({ leaderId }) => leaderId !== 0);

for (const [at, { node }] of members.entries()) {
  const { index, result } = await node.propose(
    fromUtf8(JSON.stringify({ key: "color", value: `from node ${at + 1}` })),
  );
  console.log(`entry ${index} took the place of ${result}`);
}
for (const { node, values } of members) {
  await node.read({ consistency: "linearizable" });
  console.log(values.get("color")); // from node 3
}
for (const { node } of members) await node.close();
