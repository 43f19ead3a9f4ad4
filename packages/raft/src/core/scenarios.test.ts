/**
 * Runs every file in `scenarios/` and compares what happened with what the file says. UPDATE_GOLDEN=1 rewrites the
 * files instead; read the difference before you commit it.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { runScenario } from "./testing/scenario.ts";

const folder = new URL("./scenarios/", import.meta.url);
const update = process.env["UPDATE_GOLDEN"] === "1";

describe("scenario", () => {
  for (const name of readdirSync(folder).sort()) {
    it(name, () => {
      const file = new URL(name, folder);
      const expected = readFileSync(file, "utf8");
      const got = runScenario(expected);
      if (update) writeFileSync(file, got);
      else expect(got).toBe(expected);
    });
  }

  it("tells a command from its output", () => {
    expect(() => runScenario("nobody said this")).toThrow("belongs to no command");
    expect(() => runScenario("> group voters=1\n> dance")).toThrow("no command dance");
  });
});
