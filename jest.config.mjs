// One jest run over every workspace. Tests run from the TypeScript sources: the "@blixard/source" export
// condition resolves sibling packages to their src/, so a unit test never sees a stale build.

// Whoever works with a cluster in the same terminal, as the README shows, has its address and token in the environment.
for (const name of Object.keys(process.env)) {
  if (name.startsWith("BLIXARD_") && !["BLIXARD_SEED", "BLIXARD_TEAR_ALL"].includes(name)) delete process.env[name];
}

export default {
  roots: ["<rootDir>/packages", "<rootDir>/apps", "<rootDir>/tools"],
  testMatch: ["**/src/**/*.test.ts"],
  testEnvironment: "node",
  testEnvironmentOptions: {
    customExportConditions: ["@blixard/source", "node", "node-addons"],
  },
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "\\.ts$": [
      "@swc/jest",
      {
        jsc: { target: "es2022", parser: { syntax: "typescript" } },
        module: { type: "es6" },
        sourceMaps: "inline",
      },
    ],
  },
  modulePathIgnorePatterns: ["/dist/"],
  // A guard against tests that hang, for all of them alike: never a claim about speed.
  testTimeout: 300_000,
};
