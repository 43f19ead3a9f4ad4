import { randomUUID } from "node:crypto";
import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { EmbeddedDriver } from "./embedded/embedded-driver.ts";
import { VmHarness } from "./testing/vm-harness.ts";

describe("a list of wishes", () => {
  it("leaves a VM alone while something else is wanted of another one", async () => {
    await using harness = await VmHarness.open({ drivers: [new EmbeddedDriver({ clock: systemClock })] });
    const { observations } = harness.manager;
    let looks = 0;
    const counted = new Proxy(harness.wish({ desired: "stopped" }), {
      get: (wish, field) => {
        looks++;
        return Reflect.get(wish, field);
      },
    });
    const stopped = { ...harness.wish({ desired: "stopped" }), vmId: randomUUID() };
    harness.manager.setDesired([counted, stopped]);
    await observations.until((all) => all.size === 2);
    looks = 0;
    harness.manager.setDesired([counted, { ...stopped, desired: "deleted" }]);
    await observations.until((all) => all.get(stopped.vmId)?.phase === "Deleted");
    expect(looks).toBe(0);
    // Another object is another wish, whatever it says.
    harness.manager.setDesired([new Proxy(counted, {}), stopped]);
    await observations.until((all) => all.get(stopped.vmId)?.phase !== "Deleted");
    expect(looks).toBeGreaterThan(0);
  });
});
