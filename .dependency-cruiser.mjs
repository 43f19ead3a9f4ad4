// Who may import whom: the arrows of ARCHITECTURE.md, checked by `npm run check`.
const belowServer = [
  "common",
  "raft",
  "protocol",
  "identity",
  "storage",
  "transport",
  "bulk",
  "vm-manager",
  "cluster",
  "client",
  "http-api",
];
const arrows = {
  common: [],
  raft: ["common"],
  protocol: ["common", "raft"],
  storage: ["common", "raft"],
  identity: ["common", "protocol"],
  transport: ["common", "raft", "protocol", "identity"],
  bulk: ["common", "protocol", "identity", "transport"],
  "vm-manager": ["common", "protocol"],
  client: ["common", "protocol", "identity"],
  cluster: ["common", "raft", "protocol", "vm-manager"],
  "http-api": ["common", "protocol", "identity", "client"],
  server: belowServer,
  testing: [...belowServer, "server"],
};

const room = (name) => `^packages/${name}/`;
const packageRules = Object.entries(arrows).map(([name, allowed]) => ({
  name: `${name}-imports`,
  comment: `packages/${name} may import ${allowed.join(", ") || "no other package"}`,
  severity: "error",
  from: { path: room(name) },
  to: { path: "^(packages|apps|tools)/", pathNot: [name, ...allowed].map(room) },
}));

export default {
  forbidden: [
    ...packageRules,
    {
      name: "binary-without-testing",
      comment: "the binary does not depend on the test harness",
      severity: "error",
      from: { path: "^apps/node/src", pathNot: "\\.test\\.ts$|/e2e/" },
      to: { path: "^packages/testing/" },
    },
    {
      name: "page-with-types-only",
      comment: "what runs in a browser takes the types of the contract, and no code of ours",
      severity: "error",
      from: { path: "^apps/dashboard/src", pathNot: "\\.d\\.ts$" },
      to: { path: "^(packages|apps/node|tools)/", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "nobody-imports-applications",
      severity: "error",
      from: { path: "^packages/" },
      to: { path: "^(apps|tools)/" },
    },
    {
      name: "pure-raft-core",
      comment: "the core does no I/O",
      severity: "error",
      from: { path: "^packages/raft/src/core/", pathNot: "\\.test\\.ts$" },
      to: { path: ["^packages/raft/src/(?!core/)"], dependencyTypesNot: ["type-only"] },
    },
    {
      name: "pure-code-without-node",
      severity: "error",
      from: {
        path: "^packages/(raft/src/core|cluster/src/state-machine|cluster/src/scheduler)/",
        pathNot: "\\.test\\.ts$",
      },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "no-cycles",
      comment: "no two files need each other, for their types either",
      severity: "error",
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)(dist|node_modules)/" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["@blixard/source", "import", "node", "default", "types"],
    },
  },
};
