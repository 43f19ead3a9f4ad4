/** One VM: what it is, why it is where it is, its console, and what can be done with it. */
import type { PlacementReport, VmRecord } from "@blixard/protocol";
import { isOnSilentNode, leases, vm } from "../model/cluster.ts";
import { mib, seconds, time } from "../model/format.ts";
import { hrefOf } from "../model/place.ts";
import { Badge } from "../parts/badge.tsx";
import { Console } from "../parts/console.tsx";
import { Countdown } from "../parts/countdown.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { VmActions } from "./vm-actions.tsx";

export function VmDetail({ name }: { readonly name: string }) {
  const { value } = vm;
  const back = <a href={hrefOf("vms")}>All VMs</a>;
  if (value === undefined) return <p class="quiet">Asking the node …</p>;
  if (value === "gone" || value.record.name !== name) {
    return (
      <p>
        There is no VM “{name}”. {back}
      </p>
    );
  }
  const { record, report } = value;
  return (
    <>
      <div class="bar">
        <h2>{name}</h2>
        <VmActions vm={record} />
        {back}
      </div>
      <Facts vm={record} report={report} />
      <Conditions vm={record} />
      <h2>Console</h2>
      <Console key={record.vmId} name={name} />
      <Verdicts report={report} />
      <Ends vm={record} />
    </>
  );
}

function Facts({ vm: record, report }: { readonly vm: VmRecord; readonly report: PlacementReport | undefined }) {
  const { spec, lossPolicy, node } = record;
  const lease = leases.value.get(record.name);
  const facts: readonly (readonly [string, preact.ComponentChildren])[] = [
    ["Phase", <Badge key="phase" text={record.phase} />],
    ["Wanted", record.desired],
    ["Guest", record.guest === "none" ? "–" : <Badge key="guest" text={record.guest} />],
    ["Node", node === null ? "none" : `node ${node}`],
    ["Why", [record.reason, record.message].filter(Boolean).join(": ") || "–"],
    ["Why there", record.placement || "–"],
    ["Image", spec.image],
    ["Size", `${spec.vcpus} vCPUs, ${mib(spec.memoryMiB)}`],
    ["Driver", record.driver ?? "–"],
    ["Restarts", record.restarts],
    ["Created", time(record.createdUnixMs)],
    ["Without its node", lossPolicy?.effect ?? "waits"],
    [
      "Next",
      isOnSilentNode(record) && lease !== undefined ? <Countdown key="lease" lease={lease} /> : nextText(report),
    ],
    ...Object.entries(record.labels ?? {}).map(([key, value]) => [key, value] as const),
  ];
  return (
    <dl class="facts">
      {facts.map(([title, value]) => (
        <div key={title} class={wide.has(title) ? "wide" : ""}>
          <dt>{title}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Sentences. */
const wide = new Set(["Why there", "Next"]);

function nextText(report: PlacementReport | undefined): string {
  const { ifLost } = report ?? {};
  if (ifLost === undefined) return "stays where it is";
  const within = `within ${seconds(ifLost.withinMs)} of the last word of its node`;
  return ifLost.nodeId === null
    ? `without its node no other could take it: ${ifLost.message}`
    : `without its node it starts on node ${ifLost.nodeId} ${within}`;
}

function Conditions({ vm: { conditions } }: { readonly vm: VmRecord }) {
  if (conditions.length === 0) return null;
  return (
    <ul class="warnings">
      {conditions.map(({ type, reason, message }) => (
        <li key={type}>
          {type}: {reason}
          {message !== "" && ` – ${message}`}
        </li>
      ))}
    </ul>
  );
}

type Verdict = PlacementReport["nodes"][number];

const verdictColumns: readonly Column<Verdict>[] = [
  { title: "Node", cell: ({ nodeId }) => nodeId },
  { title: "Fits", cell: ({ fits }) => (fits ? "yes" : "no") },
  { title: "Why", cell: (verdict) => (verdict.fits ? `${verdict.score} points` : verdict.reason) },
];

function Verdicts({ report }: { readonly report: PlacementReport | undefined }) {
  if (report === undefined) return null;
  return (
    <>
      <h2>If it were placed now</h2>
      <Table
        name="Nodes for it"
        columns={verdictColumns}
        rows={report.nodes}
        keyOf={({ nodeId }) => String(nodeId)}
        empty="No node."
      />
    </>
  );
}

type End = NonNullable<VmRecord["ends"]>[number];

const endColumns: readonly Column<End>[] = [
  { title: "When", cell: ({ unixMs }) => time(unixMs) },
  { title: "Node", cell: ({ node }) => node },
  { title: "Why", cell: ({ reason }) => reason },
  { title: "Message", cell: ({ message }) => message },
];

function Ends({ vm: { ends = [] } }: { readonly vm: VmRecord }) {
  if (ends.length === 0) return null;
  return (
    <>
      <h2>How it ended before</h2>
      <Table
        name="Ends"
        columns={endColumns}
        rows={ends}
        keyOf={({ unixMs, fencingEpoch }) => `${unixMs} ${fencingEpoch}`}
        empty=""
      />
    </>
  );
}
