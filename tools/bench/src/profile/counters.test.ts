import { describe, expect, it } from "@jest/globals";
import { countersOf } from "./counters.ts";

const page = (at: number) => `blixard_raft_commit_index ${100 * at}
blixard_raft_append_duration_seconds_count ${10 * at}
blixard_raft_append_duration_seconds_sum ${0.05 * at}
blixard_transport_frames_sent_total{lane="blixard/raft/1"} ${150 * at}
blixard_transport_frames_sent_total{lane="blixard/rpc/1"} ${50 * at}
`;
const valueOfRow = (name: string) => countersOf(page(1), page(2), 80).find((row) => row.name === name)?.value;

describe("countersOf", () => {
  it("relates what changed", () => {
    expect(valueOfRow("entries per log write")).toBe(10);
    expect(valueOfRow("log writes per put")).toBe(0.125);
    expect(valueOfRow("mean log write, ms")).toBeCloseTo(5);
    expect(valueOfRow("frames sent per put, all lanes")).toBe(2.5);
  });

  it("says of what is not counted that it is not, which is not 0", () => {
    expect(valueOfRow("entries per apply")).toBeNull();
    expect(valueOfRow("calls forwarded per put")).toBeNull();
    const row = countersOf(page(1), page(2), 80).find(({ name }) => name === "entries per frame");
    expect(row).toEqual({ name: "entries per frame", value: null, note: "no metric counts the entries in a frame" });
  });
});
