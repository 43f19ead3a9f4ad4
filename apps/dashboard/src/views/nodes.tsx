/** The nodes, what they have, and the connections between them. */
import type { MemberStatus, NodeView } from "@blixard/protocol";
import { write } from "../model/api.ts";
import { nodes, status } from "../model/cluster.ts";
import { mib, rtt } from "../model/format.ts";
import { tokenOf } from "../model/session.ts";
import { Action } from "../parts/action.tsx";
import { Badge } from "../parts/badge.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Use } from "../parts/use.tsx";
import { PathMap } from "./path-map.tsx";

export function Nodes() {
  const all = nodes.value;
  if (all === undefined) {
    const members = status.value?.members ?? [];
    return (
      <>
        <p class="quiet">The leader has not answered. These are the members, as this node sees them.</p>
        <Table name="Members" columns={memberColumns} rows={members} keyOf={({ id }) => String(id)} empty="None." />
      </>
    );
  }
  return (
    <>
      <Table name="Nodes" columns={nodeColumns} rows={all} keyOf={({ id }) => String(id)} empty="There are no nodes." />
      <PathMap nodes={all} />
    </>
  );
}

const memberColumns: readonly Column<MemberStatus>[] = [
  { title: "Node", cell: ({ id, name }) => `${id} ${name}` },
  { title: "Role", cell: ({ role }) => role },
  { title: "Path", cell: ({ path }) => <Badge text={path} /> },
  { title: "RTT", cell: ({ rttMs }) => rtt(rttMs), isNumber: true },
];

const nodeColumns: readonly Column<NodeView>[] = [
  {
    title: "Node",
    cell: ({ id, name }) => (
      <strong>
        {id} {name}
      </strong>
    ),
  },
  {
    title: "State",
    cell: ({ id, state, cordoned }) => (
      <>
        <Badge text={state} /> {id === status.value?.leaderId && <Badge text="leader" />}{" "}
        {cordoned && <Badge text="cordoned" />}
      </>
    ),
  },
  { title: "Role", cell: ({ role }) => role },
  { title: "VMs", cell: ({ vms }) => vms, isNumber: true },
  {
    title: "Memory",
    cell: ({ usedMemoryMiB: used, capacity: { memoryMiB } }) => (
      <Use name="Memory" used={used} of={memoryMiB} text={`${mib(used)} of ${mib(memoryMiB)}`} />
    ),
  },
  { title: "vCPUs", cell: ({ usedVcpus = 0, capacity }) => `${usedVcpus} of ${capacity.vcpus}`, isNumber: true },
  {
    title: "Disk free",
    cell: ({ capacity: { disk } }) => (disk === undefined ? "–" : mib(disk.freeMiB)),
    isNumber: true,
  },
  { title: "Drivers", cell: ({ capacity }) => capacity.drivers.join(", ") || "none" },
  { title: "Version", cell: ({ version }) => version },
  { title: "Actions", cell: (node) => <NodeActions node={node} /> },
];

function NodeActions({ node: { id, cordoned } }: { readonly node: NodeView }) {
  return (
    <span class="actions">
      <Action
        call="node.drain"
        label="Drain"
        title={`Drain node ${id}?`}
        text="No new VM is placed there, and its VMs leave it: they are restarted on other nodes, or stopped where they cannot go on elsewhere."
        done={`Node ${id} is being drained: see the operations.`}
        run={() => write(tokenOf(), "node.drain", { id })}
        isDangerous
      />
      {cordoned && (
        <Action
          call="node.resume"
          label="Resume"
          title={`Resume node ${id}?`}
          text="VMs may come to it again, and those that a drain took from there come back."
          done={`Node ${id} is being resumed: see the operations.`}
          run={() => write(tokenOf(), "node.resume", { id })}
        />
      )}
    </span>
  );
}
