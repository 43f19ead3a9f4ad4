// One jest run over every workspace. Tests run from the TypeScript sources: the "@blixard/source" export
// condition resolves sibling packages to their src/, so a unit test never sees a stale build.
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
  testTimeout: 60_000,
};
