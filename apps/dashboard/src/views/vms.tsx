/** The VMs: where and how each is, and why. */
import type { VmRecord } from "@blixard/protocol";
import { useState } from "preact/hooks";
import { isOnSilentNode, leases, vms } from "../model/cluster.ts";
import { mib } from "../model/format.ts";
import { hrefOf } from "../model/place.ts";
import { Badge } from "../parts/badge.tsx";
import { Countdown } from "../parts/countdown.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { CreateVm } from "./create-vm.tsx";

const columns: readonly Column<VmRecord>[] = [
  {
    title: "VM",
    cell: ({ name }) => (
      <a href={hrefOf("vms", name)}>
        <strong>{name}</strong>
      </a>
    ),
  },
  {
    title: "Phase",
    cell: ({ phase, desired }) => (
      <>
        <Badge text={phase} /> {desired === "deleted" && <Badge text="being deleted" />}
      </>
    ),
  },
  { title: "Guest", cell: ({ guest }) => (guest === "none" ? "–" : <Badge text={guest} />) },
  { title: "Node", cell: ({ node }) => node ?? "–", isNumber: true },
  { title: "Why", cell: (record) => <Why vm={record} /> },
  { title: "Without its node", cell: ({ lossPolicy }) => lossPolicy?.effect ?? "waits" },
  { title: "Image", cell: ({ spec }) => spec.image },
  { title: "vCPUs", cell: ({ spec }) => spec.vcpus, isNumber: true },
  { title: "Memory", cell: ({ spec }) => mib(spec.memoryMiB), isNumber: true },
  {
    title: "Labels",
    cell: ({ labels = {} }) =>
      Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(" "),
  },
];

export function Vms() {
  const [wanted, setWanted] = useState("");
  const { value } = vms;
  if (value === undefined) return <p class="quiet">Asking the node …</p>;
  const rows = value.items.filter(({ name }) => name.includes(wanted));
  return (
    <>
      <div class="bar">
        <label>
          Name has <input type="search" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
        </label>
        <CreateVm />
      </div>
      <Table name="VMs" columns={columns} rows={rows} keyOf={({ vmId }) => vmId} empty="There are no such VMs." />
      {value.isCut && <p class="quiet">Only the first {value.items.length} are shown.</p>}
    </>
  );
}

/** Why it is as it is, and what comes next where its node is silent. */
function Why({ vm: record }: { readonly vm: VmRecord }) {
  const { name, reason, conditions } = record;
  const lease = leases.value.get(name);
  if (isOnSilentNode(record) && lease !== undefined) return <Countdown lease={lease} />;
  return <>{[reason, ...conditions.map((condition) => condition.reason)].filter(Boolean).join(", ")}</>;
}
