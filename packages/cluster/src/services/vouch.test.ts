import { describe, expect, it } from "@jest/globals";
import type { CallScope } from "../calls/call-types.ts";
import { applyChange, emptyState, nodeKey } from "../state-machine/state.ts";
import { sampleNode } from "../testing/command-samples.ts";
import { memberHandlers } from "./member.ts";

describe("member.vouch", () => {
  it("is no word for a banned key, also while the record of its node is there", async () => {
    const state = emptyState();
    const { endpointId } = sampleNode(2);
    applyChange(state, { table: "nodes", key: nodeKey(2), value: sampleNode(2, { leaving: true }) });
    const stateMachine = { state, version: { value: { appliedIndex: 5 } } };
    const handlers = memberHandlers({ stateMachine } as unknown as Parameters<typeof memberHandlers>[0]);
    const vouches = () => handlers["member.vouch"]({ id: 2, endpointId, appliedIndex: 5 }, {} as CallScope);
    expect(await vouches()).toEqual({ vouches: true });
    const ban = { endpointId, nodeId: 2, role: "voter", bannedUnixMs: 1, index: 5 } as const;
    applyChange(state, { table: "banned", key: endpointId, value: ban });
    expect(await vouches()).toEqual({ vouches: false });
  });
});
