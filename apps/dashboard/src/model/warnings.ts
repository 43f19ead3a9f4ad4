/** What somebody should look at, from what the node and its leader say. */
import type { NodeStatus, NodeView } from "@blixard/protocol";

/** Members report several times a second; one that was silent for longer does not count as present. */
const presentWithinMs = 3_000;

export function quorumOf({ members }: Pick<NodeStatus, "members">) {
  const voters = members.filter(({ role }) => role === "voter" || role === "witness");
  const present = voters.filter(({ lastContactMs }) => lastContactMs !== null && lastContactMs <= presentWithinMs);
  return { voters: voters.length, present: present.length, needed: Math.floor(voters.length / 2) + 1 };
}

export function warningsOf(status: NodeStatus, nodes: readonly NodeView[] = []): readonly string[] {
  if (status.heldBack !== undefined) return [`Node ${status.nodeId} takes no part: it is ${status.heldBack}.`];
  const { voters, present, needed } = quorumOf(status);
  const diskLow = nodes.filter(({ capacity: { disk } }) => disk !== undefined && disk.freeMiB * 20 < disk.totalMiB);
  return [
    ...(status.leaderId === null ? ["No leader is known: nothing can be changed."] : []),
    ...(status.storage.healthy
      ? []
      : [`The storage of node ${status.nodeId} has failed: ${status.storage.lastError}.`]),
    ...nodes.filter(({ state }) => state === "unreachable").map(silentText),
    ...(voters > 1 && present <= needed && status.leaderId !== null
      ? [`${present} of ${voters} voters are heard from here, and ${needed} are needed: no other may fail.`]
      : []),
    ...nodes.filter(({ cordoned }) => cordoned).map(({ id }) => `Node ${id} is cordoned: no new VM is placed there.`),
    ...diskLow.map(({ id }) => `The disk of node ${id} is nearly full.`),
  ];
}

function silentText({ id, name, vms }: NodeView): string {
  return `Node ${id} (${name}) does not answer${vms > 0 ? `; ${vms} VM${vms === 1 ? "" : "s"} on it` : ""}.`;
}
