/** What goes on, and what ended last. */
import type { OperationRecord } from "@blixard/protocol";
import { write } from "../model/api.ts";
import { operations } from "../model/cluster.ts";
import { time } from "../model/format.ts";
import { tokenOf } from "../model/session.ts";
import { Action } from "../parts/action.tsx";
import { Badge } from "../parts/badge.tsx";
import { type Column, Table } from "../parts/table.tsx";

const columns: readonly Column<OperationRecord>[] = [
  { title: "Operation", cell: ({ kind }) => <strong>{kind}</strong> },
  { title: "About", cell: ({ subject }) => subject },
  { title: "State", cell: ({ state }) => <Badge text={state} /> },
  {
    title: "Progress",
    cell: ({ percent }) => (
      <span class="use">
        <progress aria-label="Progress" max={100} value={percent} /> {percent} %
      </span>
    ),
  },
  {
    title: "Message",
    cell: ({ message, waiting, error }) =>
      [message, error?.message, ...waiting.map(({ vm, why }) => `${vm}: ${why}`)].filter(Boolean).join("; "),
  },
  { title: "Started", cell: ({ startedUnixMs }) => time(startedUnixMs) },
  {
    title: "Actions",
    cell: ({ id, kind, subject, state }) =>
      state === "running" && (
        <Action
          call="operation.cancel"
          label="Cancel"
          title={`Cancel ${kind} of ${subject}?`}
          text="It goes no further. What it has done stays done."
          done={`${kind} of ${subject} is cancelled.`}
          run={() => write(tokenOf(), "operation.cancel", { id })}
          isDangerous
        />
      ),
  },
];

export function Operations() {
  const { value } = operations;
  if (value === undefined) return <p class="quiet">Asking the node …</p>;
  const rows = value.items.toSorted((one, other) => other.startedUnixMs - one.startedUnixMs);
  return (
    <Table
      name="Operations"
      columns={columns}
      rows={rows}
      keyOf={({ id }) => id}
      empty="No operation runs, and none ended lately."
    />
  );
}
