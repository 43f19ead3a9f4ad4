import { describe, it } from "@jest/globals";
import { driverConformanceCases } from "../testing/driver-conformance.ts";

describe("EmbeddedDriver", () => {
  for (const { name, run } of driverConformanceCases) {
    it(name, () => run({ driver: "embedded" }, "embedded"), 240_000);
  }
});
