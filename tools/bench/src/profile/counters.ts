/** What a node counted while it was loaded, from its own page of metrics before and after. */
import { hasMetric, sumOfMetric } from "../proc/metrics-text.ts";

export interface CounterRow {
  readonly name: string;
  /** Null where no metric says it. */
  readonly value: number | null;
  readonly note: string;
}

const raft = "blixard_raft";
const transport = "blixard_transport";

/** @param puts writes that the whole cluster acknowledged meanwhile */
export function countersOf(before: string, after: string, puts: number): CounterRow[] {
  const change = (name: string, labels: Readonly<Record<string, string>> = {}) =>
    hasMetric(after, name) ? sumOfMetric(after, name, labels) - sumOfMetric(before, name, labels) : Number.NaN;
  const row = (name: string, value: number, note = ""): CounterRow =>
    Number.isFinite(value)
      ? { name, value, note }
      : { name, value: null, note: note || "no metric of this node says it" };
  const logWrites = change(`${raft}_append_duration_seconds_count`);
  const applies = change(`${raft}_apply_duration_seconds_count`);
  const frames = change(`${transport}_messages_per_frame_count`);
  return [
    row("entries per log write", change(`${raft}_commit_index`) / logWrites, "entries that were committed meanwhile"),
    row("log writes per put", logWrites / puts),
    row("mean log write, ms", (change(`${raft}_append_duration_seconds_sum`) * 1_000) / logWrites),
    row("entries per apply", change(`${raft}_applied_index`) / applies),
    row("mean apply, ms", (change(`${raft}_apply_duration_seconds_sum`) * 1_000) / applies),
    row("entries per frame", Number.NaN, "no metric counts the entries in a frame"),
    row("Raft messages per frame", change(`${transport}_messages_per_frame_sum`) / frames),
    row("frames sent per put, all lanes", change(`${transport}_frames_sent_total`) / puts),
    row("bytes sent per put, all lanes", change(`${transport}_wire_sent_bytes_total`) / puts),
    row("calls forwarded per put", change("blixard_service_forwards_total") / puts),
  ];
}
