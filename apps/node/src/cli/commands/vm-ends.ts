/** How a VM ended the last times, for people. */
import type { RecordedVmEnd, VmRecord } from "@blixard/protocol";
import { formatTable } from "../table.ts";

const waysToStop: Readonly<Record<RecordedVmEnd["stoppedBy"], string>> = {
  itself: "by itself",
  agent: "on request of its agent",
  acpi: "asked (ACPI)",
  quit: "killed (quit)",
  sigterm: "killed (SIGTERM)",
  sigkill: "killed (SIGKILL)",
  host: "by the host",
  "not-started": "not started",
};

const timeOf = ({ unixMs }: RecordedVmEnd) => new Date(unixMs).toISOString();

/** A table below that of the VM; nothing for a VM that never ended. */
export function endsTable({ ends = [] }: VmRecord): string {
  if (ends.length === 0) return "";
  const rows = ends.map((end) => [
    ...[timeOf(end), end.reason, waysToStop[end.stoppedBy], String(end.node), String(end.fencingEpoch), end.message],
  ]);
  return `\n${formatTable(["ENDED", "REASON", "HOW", "NODE", "EPOCH", "MESSAGE"], rows)}`;
}

/** One line for each end. */
export function endLines({ ends = [] }: VmRecord): string[] {
  return ends.map(
    (end) =>
      `ended      ${timeOf(end)} ${end.reason}, ${waysToStop[end.stoppedBy]}, on node ${end.node}` +
      (end.message === "" ? "" : `: ${end.message}`),
  );
}
