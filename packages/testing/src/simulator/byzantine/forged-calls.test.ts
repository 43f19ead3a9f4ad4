import type { ClusterState } from "@blixard/cluster";
import { seededRandom } from "@blixard/common";
import { type MethodName, methods, type StreamName, streams } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { forgedRequests, forgedStreams, type RequestSource } from "./forged-calls.ts";

const empty = new Map();
const state = {
  nodes: empty,
  tokens: empty,
  tickets: empty,
  vms: empty,
  volumes: empty,
  networks: empty,
  securityGroups: empty,
  kv: empty,
  operations: empty,
} as unknown as ClusterState;
const sourceOf = (seed: number): RequestSource => ({
  ...{ random: seededRandom(seed), self: 4, endpointId: "a".repeat(64), others: [1, 2] },
  ...{ state, appliedIndex: 9, claims: [] },
});

describe("forgedRequests", () => {
  it.each(Object.keys(methods) as MethodName[])("%s is in its form, so that only who asks can be wrong", (name) => {
    for (let seed = 0; seed < 20; seed++) {
      const parsed = methods[name].request.safeParse(forgedRequests[name](sourceOf(seed)));
      expect(parsed.error?.issues).toBeUndefined();
    }
  });

  it.each(Object.keys(streams) as StreamName[])("the stream %s is in its form", (name) => {
    expect(streams[name].request.safeParse(forgedStreams[name](sourceOf(1))).success).toBe(true);
  });
});
