import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import { mutants } from "./mutants.ts";
import { mutatedText } from "./plant-mutant.ts";

const packages = fileURLToPath(new URL("../../../..", import.meta.url));

describe("mutants", () => {
  it.each(mutants.map((mutant) => [mutant.name, mutant] as const))("%s fits the built code", async (_, mutant) => {
    expect(await mutatedText(mutant, packages)).toContain(mutant.to);
  });
});
