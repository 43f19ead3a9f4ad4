import { describe, expect, it } from "@jest/globals";
import { type CpuProfile, packageOf, sumProfile } from "./sum-profile.ts";

describe("packageOf", () => {
  it("finds the innermost library, our room, and what is V8's own", () => {
    const urls = [
      ["file:///x/packages/raft/dist/node/raft-node.js", "a", "@blixard/raft"],
      ["file:///x/apps/node/dist/main.js", "a", "apps/node"],
      ["file:///x/packages/y/node_modules/@a/b/node_modules/zod/v4/core.js", "a", "zod"],
      ["file:///x/node_modules/@number0/iroh/index.js", "a", "@number0/iroh"],
      ["node:internal/timers", "a", "node"],
      ["", "(garbage collector)", "(garbage collector)"],
      ["", "writev", "native code"],
      ["file:///somewhere.js", "a", "other"],
    ] as const;
    for (const [url, name, room] of urls) expect(packageOf(url, name)).toBe(room);
  });
});

describe("sumProfile", () => {
  const frame = (id: number, functionName: string, url: string) => ({
    id,
    callFrame: { functionName, url, lineNumber: 9 },
  });
  const raft = "file:///x/packages/raft/dist/raft.js";
  const profile: CpuProfile = {
    nodes: [
      frame(1, "(idle)", ""),
      frame(2, "step", raft),
      frame(3, "step", raft),
      frame(4, "", raft),
      frame(5, "never", raft),
      frame(6, "parse", "file:///x/node_modules/zod/a.js"),
    ],
    samples: [1, 2, 3, 4, 6, 1],
    timeDeltas: [1_000, 2_000, 3_000, 500, 4_000, 9_000],
  };

  it("gives each sample the time before it, and leaves out what was idle", () => {
    const { busyMs, idleMs, packages } = sumProfile(profile);
    expect([busyMs, idleMs]).toEqual([9.5, 10]);
    expect(packages).toEqual([
      { name: "@blixard/raft", selfMs: 5.5 },
      { name: "zod", selfMs: 4 },
    ]);
  });

  it("adds up a function over all of its callers", () => {
    expect(sumProfile(profile).functions).toEqual([
      { name: "step", place: "raft/raft.js:10", selfMs: 5 },
      { name: "parse", place: "zod/a.js:10", selfMs: 4 },
      { name: "(anonymous)", place: "raft/raft.js:10", selfMs: 0.5 },
    ]);
  });

  it("gives native code to the script that calls it, also through other native code", () => {
    const call = { url: "file:///x/node_modules/level/a.js", functionName: "put", lineNumber: 0 };
    const native = (functionName: string) => ({ functionName, url: "", lineNumber: -1 });
    const { packages, functions } = sumProfile({
      nodes: [
        { id: 1, callFrame: native("(root)"), children: [2, 5] },
        { id: 2, callFrame: call, children: [3] },
        { id: 3, callFrame: native("run"), children: [4] },
        { id: 4, callFrame: native("") },
        { id: 5, callFrame: native("alone") },
      ],
      samples: [3, 4, 5],
      timeDeltas: [1_000, 2_000, 500],
    });
    expect(packages).toEqual([
      { name: "native code, from level", selfMs: 3 },
      { name: "native code", selfMs: 0.5 },
    ]);
    expect(functions.map(({ name, place }) => `${name} ${place}`)).toEqual([
      "(anonymous) native code, from put level/a.js:1",
      "run native code, from put level/a.js:1",
      "alone native code",
    ]);
  });
});
