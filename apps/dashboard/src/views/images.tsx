/** The images that VMs boot. */
import type { ImageRecord } from "@blixard/protocol";
import { images } from "../model/cluster.ts";
import { bytes, time } from "../model/format.ts";
import { type Column, Table } from "../parts/table.tsx";

const columns: readonly Column<ImageRecord>[] = [
  { title: "Image", cell: ({ name }) => <strong>{name}</strong> },
  { title: "Format", cell: ({ format }) => format },
  {
    title: "Size",
    cell: ({ builtin, blobs }) =>
      builtin ? "built in" : bytes(blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
    isNumber: true,
  },
  { title: "On nodes", cell: ({ builtin, sources }) => (builtin ? "all" : sources.join(", ") || "none") },
  { title: "Pinned", cell: ({ pinned }) => (pinned ? "yes" : "") },
  { title: "Created", cell: ({ createdUnixMs }) => (createdUnixMs === 0 ? "–" : time(createdUnixMs)) },
];

export function Images() {
  const { value } = images;
  if (value === undefined) return <p class="quiet">Asking the node …</p>;
  return (
    <>
      <Table
        name="Images"
        columns={columns}
        rows={value.items}
        keyOf={({ name }) => name}
        empty="There are no images."
      />
      {value.isCut && <p class="quiet">Only the first {value.items.length} are shown.</p>}
    </>
  );
}
