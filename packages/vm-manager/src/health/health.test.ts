/** Health checks of a real guest, over the real switch. */
import { systemClock } from "@blixard/common/system";
import type { ObservedCondition, VmHealthCheck, VmObservation } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { builtinImages } from "../images/builtin-images.ts";
import { QemuDriver } from "../qemu/qemu-driver.ts";
import { networkConformanceNeeds } from "../testing/network-conformance.ts";
import { describeWith } from "../testing/required-component.ts";
import { VmHarness, type VmWish } from "../testing/vm-harness.ts";

const timing = { intervalMs: 500, timeoutMs: 2_000, failuresMax: 2, graceMs: 120_000 };
const page: VmHealthCheck = { type: "http", port: 80, path: "/", ...timing, recovery: "restart" };
const [demo] = builtinImages.filter(({ name }) => name === "demo");

const conditionOf = ({ conditions = [] }: VmObservation): ObservedCondition | undefined =>
  conditions.find(({ type }) => type === "Health");
const isHealthy = (seen: VmObservation) => seen.phase === "Running" && conditionOf(seen) === undefined;

async function openGuest(health: readonly VmHealthCheck[]): Promise<{ harness: VmHarness; wish: VmWish }> {
  const harness = await VmHarness.open({
    drivers: [new QemuDriver({ clock: systemClock }, { accelerator: "tcg" })],
    tunables: { restartBackoffMs: 100, quitDeadlineMs: 1_000 },
  });
  const wish: VmWish = { ...(demo === undefined ? {} : { image: demo }), spec: { health: [...health] } };
  harness.want(wish);
  return { harness, wish };
}

describeWith(describe, networkConformanceNeeds)("health checks of a guest", () => {
  it("end a VM that fails them, which starts again and is healthy then", async () => {
    const { harness, wish } = await openGuest([page]);
    await using _ = harness;
    const starting = await harness.until("not yet healthy", (seen) => conditionOf(seen) !== undefined);
    expect(conditionOf(starting)).toMatchObject({
      status: false,
      reason: expect.stringMatching(/^Not(YetHealthy|Checked)$/),
    });
    await harness.until("healthy", isHealthy);
    const pid = await harness.process();
    // The next manager asks on, and ends nothing while it does not know.
    await harness.reopen();
    harness.want(wish);
    await harness.until("not asked yet", (seen) => conditionOf(seen) !== undefined);
    await harness.until("healthy", isHealthy);
    expect(await harness.process()).toBe(pid);
    await harness.type("ill");
    const again = await harness.until("healthy again", (seen) => seen.restarts === 1 && isHealthy(seen));
    expect(again.ends).toMatchObject([{ reason: "unhealthy", stoppedBy: "quit" }]);
    expect(again.ends?.[0]?.message).toBe("http 80/ failed 2 times in a row: the answer is 503");
    expect(await harness.process()).not.toBe(pid);
  }, 240_000);

  it("say what is wrong, and no more, where nothing is to be done about it", async () => {
    const { harness } = await openGuest([
      { ...page, recovery: "none" },
      { type: "tcp", port: 22, ...timing, graceMs: 0, recovery: "none" },
      { type: "console", text: "tick", ...timing, intervalMs: 3_000, recovery: "restart" },
    ]);
    await using _ = harness;
    const seen = await harness.until("a failed check", (each) => conditionOf(each)?.reason === "CheckFailed");
    expect(conditionOf(seen)?.message).toBe("tcp 22 failed 2 times in a row: the connection is refused");
    await harness.type("ill");
    await harness.until("the page too", (each) => conditionOf(each)?.message.startsWith("http 80/") === true);
    await harness.type("well");
    await harness.until("the port alone", (each) => conditionOf(each)?.message.startsWith("tcp 22") === true);
    expect(harness.observation()).toMatchObject({ phase: "Running", restarts: 0 });
  }, 240_000);
});
