import { endpointIdOfSeed } from "@blixard/identity";
import { describe, expect, it } from "@jest/globals";
import { loadIroh } from "./iroh-module.ts";

describe("endpointIdOfSeed", () => {
  it("is the endpoint id that Iroh has for the same secret", async () => {
    const iroh = await loadIroh();
    for (const fill of [0, 1, 42, 255]) {
      const secret = new Uint8Array(32).fill(fill);
      expect(endpointIdOfSeed(secret)).toBe(
        iroh.SecretKey.fromBytes([...secret])
          .public()
          .toString(),
      );
    }
  });
});
