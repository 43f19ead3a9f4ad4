import { CountingMetrics } from "@blixard/transport/testing";
import { describe, expect, it } from "@jest/globals";
import { bulkLimits } from "./bulk-limits.ts";
import { chunkPath } from "./bulk-path.ts";
import { BulkRequestHandler } from "./bulk-request-handler.ts";
import { bindBulkMetrics } from "./metrics.ts";
import { SnapshotBudget } from "./snapshot-budget.ts";
import { memoryObject, randomContent } from "./testing/bulk-fixture.ts";

const { snapshotBytesPerHour, snapshotsPerHour, chunkBytes } = bulkLimits;
const [bad, good] = ["a".repeat(64), "b".repeat(64)];

describe("the budget of snapshot bytes", () => {
  it("is so much in an hour for each peer, or some times the whole state, and comes back", () => {
    let nowMs = 0;
    const budget = new SnapshotBudget({ monotonicMs: () => nowMs });
    const half = snapshotBytesPerHour / 2;
    const read = (peer: string, whole = 1) => budget.takes(peer, half, whole);
    expect([read(bad), read(bad), read(bad), read(good)]).toEqual([true, true, false, true]);
    nowMs += 1_800_000;
    expect([read(bad), read(bad)]).toEqual([true, false]);
    const whole = 10 * snapshotBytesPerHour;
    const large = Array.from({ length: snapshotsPerHour + 1 }, () => budget.takes("c".repeat(64), whole, whole));
    expect(large).toEqual([...Array<boolean>(snapshotsPerHour).fill(true), false]);
  });

  it("is held against requests for snapshots, which are told to come again, and not against those for images", async () => {
    const metrics = new CountingMetrics();
    const object = memoryObject(randomContent(1, 2 * chunkBytes));
    const handler = new BulkRequestHandler({
      peers: { peer: (id) => ({ nodeId: 1, endpointId: String(id), addresses: [] }) },
      providers: { image: async () => object, snapshot: async () => object },
      metrics: bindBulkMetrics(metrics),
      snapshotBudget: { takes: (endpointId) => endpointId === good },
    });
    const read = async (endpointId: string, kind: "image" | "snapshot") => {
      const { contentId } = await handler.manifest({ kind, id: "1-1" });
      const path = chunkPath({ kind, id: "1-1" }, contentId, { offset: 0, length: chunkBytes });
      return handler.answer({ endpointId, path, route: "direct" }, async () => {});
    };
    await read(good, "snapshot");
    await read(bad, "image");
    await expect(read(bad, "snapshot")).rejects.toMatchObject({ code: "OVERLOADED" });
    expect(metrics.count("blixard_bulk_refusals_total over_budget")).toBe(1);
  });
});
