import { type CommandBody, limits } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { sampleNode, sampleSpec, sampleTicket, sampleToken, sampleVmId } from "../testing/command-samples.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";
import { Replica } from "../testing/replica.ts";
import { nodeKey } from "./state.ts";

const key = endpointIdOf(2);
const add = (acceptTwoCopies: string[] = [], nodeId = 2, endpointId = key): CommandBody => {
  return { type: "ban.add", nodeId, endpointId, acceptTwoCopies };
};
const admit = (id: number, fields = {}): CommandBody => {
  return { type: "node.admit", node: sampleNode(id, fields), ticketId: null };
};

function withNodeTwo(): Replica {
  const replica = Replica.initialised();
  replica.apply({ type: "cluster.setLevel", level: 3 });
  replica.apply(admit(2));
  return replica;
}

describe("ban.add", () => {
  it("lets the node leave, and takes its own token, what its key was given, and all open tickets", () => {
    const replica = withNodeTwo();
    replica.apply({ type: "token.own", nodeId: 2, tokenHash: "c".repeat(64) });
    replica.apply({ type: "token.create", token: sampleToken("other", { tokenHash: "d".repeat(64) }), ticketId: null });
    for (const [id, fields] of [
      ["open", {}],
      ["used", { usedBy: endpointIdOf(9) }],
      ["over", { expiresUnixMs: 50 }],
    ] as const) {
      replica.apply({ type: "ticket.create", ticket: sampleTicket(id, fields) });
    }
    const first = { role: "voter", vms: [], tokens: ["node-2"], tickets: ["open"] };
    expect(replica.apply(add())).toMatchObject({ ok: true, value: first });
    expect(replica.state.nodes.get(nodeKey(2))).toMatchObject({ leaving: true });
    expect(replica.state.banned.get(key)).toMatchObject({ nodeId: 2, role: "voter", bannedUnixMs: 100 });
    expect([...replica.state.tokens.keys()]).toEqual(["admin", "other"]);
    expect([...replica.state.tickets.values()].map(({ revoked }) => revoked)).toEqual([true, false, false]);
    // Once more, also after the node has gone: a ticket of after the ban stays.
    replica.apply({ type: "ticket.create", ticket: sampleTicket("later") });
    replica.apply({ type: "node.remove", nodeId: 2 });
    expect(replica.apply(add())).toMatchObject({ ok: true, value: { role: "voter", tokens: [], tickets: [] } });
    expect(replica.state.tickets.get("later")?.revoked).toBe(false);
  });

  it("refuses the key for ever: as a node under any id and store, and as a person", () => {
    const replica = withNodeTwo();
    replica.apply(add());
    const refused = { ok: false, code: "REMOVED", message: expect.stringContaining("banned") };
    expect(replica.apply(admit(2, { storeId: "e".repeat(32) }))).toMatchObject(refused);
    replica.apply({ type: "node.remove", nodeId: 2 });
    // What is remembered of removed nodes goes when others take their ids; the ban does not.
    replica.apply(admit(2, { endpointId: endpointIdOf(8) }));
    expect(replica.state.removed.size).toBe(0);
    expect(replica.apply(admit(7, { endpointId: key }))).toMatchObject(refused);
    const token = sampleToken("laptop", { endpointId: key, role: "viewer" });
    expect(replica.apply({ type: "token.create", token, ticketId: null })).toMatchObject(refused);
    expect(replica.apply(add([], 2, endpointIdOf(5)))).toMatchObject({ ok: false, code: "CONFLICT" });
  });

  it("knows a node that was removed before, and nobody else", () => {
    const replica = withNodeTwo();
    replica.apply({ type: "node.remove", nodeId: 2 });
    expect(replica.apply(add([], 3, endpointIdOf(3)))).toMatchObject({ ok: false, code: "NODE_NOT_FOUND" });
    expect(replica.apply(add())).toMatchObject({ ok: true, value: { role: null } });
    expect(replica.apply(admit(2))).toMatchObject({ ok: false, code: "REMOVED" });
  });

  it("wants the names of the VMs that may run twice, and starts none elsewhere", () => {
    const replica = withNodeTwo();
    const vm = { type: "vm.create", name: "web", vmId: sampleVmId(1), spec: sampleSpec(), desired: "running" } as const;
    replica.apply({ ...vm, node: 2, placement: "" });
    expect(replica.apply(add(["db"]))).toMatchObject({
      ok: false,
      code: "CONFLICT",
      hint: expect.stringMatching("web"),
    });
    expect(replica.state.banned.size).toBe(0);
    expect(replica.apply(add(["web"]))).toMatchObject({ ok: true, value: { vms: ["web"] } });
    replica.apply({ type: "node.remove", nodeId: 2 });
    expect(replica.state.vms.get("web")).toMatchObject({ node: null, phase: "Unknown", fencingEpoch: 2 });
  });

  it("forgets none: where there are too many, it says so", () => {
    const replica = withNodeTwo();
    for (let at = 0; at < limits.bansMax; at++) {
      const endpointId = at.toString(16).padStart(64, "0");
      replica.state.banned.set(endpointId, { endpointId, nodeId: 9, role: null, bannedUnixMs: 0, index: 1 });
    }
    expect(replica.apply(add())).toMatchObject({ ok: false, code: "CONFLICT" });
  });
});
