import { fromUtf8, toUtf8 } from "@blixard/common";
import { systemRandom } from "@blixard/common/system";
import { asNodeId, memoryStateMachine, openRaftNode } from "@blixard/raft";
import { MemoryNetwork, memoryPorts } from "@blixard/raft/testing";

const network = new MemoryNetwork({ random: systemRandom });
const voters = [1, 2, 3].map(asNodeId);
const members = [];
for (const id of voters) {
  let values: Record<string, string> = {};
  const stateMachine = memoryStateMachine({
    apply: (data) => Object.assign(values, JSON.parse(toUtf8(data))),
    save: () => fromUtf8(JSON.stringify(values)),
    load: (bytes) => {
      values = JSON.parse(toUtf8(bytes));
    },
  });
  const node = await openRaftNode({ ...memoryPorts(network, id), stateMachine }, { id, bootstrap: { voters } });
  members.push({ node, get: (key: string) => values[key] });
}
for (const { node } of members) await node.status.until(({ leaderId }) => leaderId !== 0);

for (const [at, { node }] of members.entries()) {
  await node.propose(fromUtf8(JSON.stringify({ color: `from node ${at + 1}` })));
}
for (const { node, get } of members) {
  await node.read({ consistency: "linearizable" });
  console.log(get("color")); // from node 3
}
for (const { node } of members) await node.close();
