import { systemClock } from "@blixard/common/system";
import { describe, it } from "@jest/globals";
import { driverConformanceCases } from "../testing/driver-conformance.ts";
import { networkConformanceCases, networkConformanceNeeds } from "../testing/network-conformance.ts";
import { describeWith } from "../testing/required-component.ts";
import { EmbeddedDriver } from "./embedded-driver.ts";

describe("EmbeddedDriver", () => {
  for (const { name, run } of driverConformanceCases) {
    it(name, () => run({ drivers: [new EmbeddedDriver({ clock: systemClock })] }, "embedded"), 240_000);
  }
});

describeWith(describe, networkConformanceNeeds)("EmbeddedDriver with a network", () => {
  for (const { name, run } of networkConformanceCases) {
    it(name, () => run({ drivers: [new EmbeddedDriver({ clock: systemClock })] }, "embedded"), 240_000);
  }
});
