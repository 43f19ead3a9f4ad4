import { systemClock } from "@blixard/common/system";
import { describe, it } from "@jest/globals";
import { driverConformanceCases } from "../testing/driver-conformance.ts";
import { EmbeddedDriver } from "./embedded-driver.ts";

describe("EmbeddedDriver", () => {
  for (const { name, run } of driverConformanceCases) {
    it(name, () => run({ drivers: [new EmbeddedDriver({ clock: systemClock })] }, "embedded"), 240_000);
  }
});
