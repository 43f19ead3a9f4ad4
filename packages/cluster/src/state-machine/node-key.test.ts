import { type CommandBody, limits } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { sampleNode, sampleToken } from "../testing/command-samples.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";
import { Replica } from "../testing/replica.ts";
import { nodeKey } from "./state.ts";

const [present, next] = [endpointIdOf(2), endpointIdOf(52)];
const change = { nodeId: 2, incarnation: 1, number: 1, endpointId: present, nextEndpointId: next };
const offer = (fields = {}): CommandBody => ({ type: "node.offerKey", ...change, ...fields });
const use = (fields = {}): CommandBody => ({ type: "node.useKey", ...change, ...fields });
const admit = (id: number, fields = {}): CommandBody => {
  return { type: "node.admit", node: sampleNode(id, fields), ticketId: null };
};
const conflict = { ok: false, code: "CONFLICT" };

function withNodeTwo(): Replica {
  const replica = Replica.initialised();
  replica.apply({ type: "cluster.setLevel", level: 3 });
  replica.apply(admit(2, { storeId: "a".repeat(32) }));
  return replica;
}

const recordIn = (replica: Replica) => replica.state.nodes.get(nodeKey(2));

describe("node.offerKey and node.useKey", () => {
  it("give a node another key, and ban the one of before when the node uses the next one", () => {
    const replica = withNodeTwo();
    expect(replica.apply(use())).toMatchObject(conflict);
    expect(replica.apply(offer())).toMatchObject({ ok: true });
    const { index } = replica;
    expect(recordIn(replica)).toMatchObject({ endpointId: present, nextKey: { endpointId: next, index } });
    // The same offer changes nothing; another one takes its place, as when the file of the next key was lost.
    expect(replica.apply(offer())).toMatchObject({ ok: true, value: { index } });
    expect(replica.apply(offer({ nextEndpointId: endpointIdOf(53) }))).toMatchObject({ ok: true });
    expect(replica.apply(use())).toMatchObject(conflict);
    expect(replica.apply(offer())).toMatchObject({ ok: true });
    expect(replica.state.banned.size).toBe(0);
    for (let asked = 0; asked < 2; asked++) expect(replica.apply(use())).toMatchObject({ ok: true });
    expect(recordIn(replica)).toEqual(sampleNode(2, { storeId: "a".repeat(32), endpointId: next, keyNumber: 1 }));
    expect([...replica.state.banned.values()]).toMatchObject([{ endpointId: present, nodeId: 2, role: "voter" }]);
    const back = { number: 2, endpointId: next, nextEndpointId: present };
    expect(replica.apply(offer(back))).toMatchObject({ ok: false, code: "REMOVED" });
    expect(replica.apply(offer({ ...back, nextEndpointId: endpointIdOf(54) }))).toMatchObject({ ok: true });
  });

  it.each([
    ["another number", { number: 2 }],
    ["another admission", { incarnation: 2 }],
    ["a key that is not the present one", { endpointId: endpointIdOf(9) }],
    ["the key of another node", { nextEndpointId: endpointIdOf(1) }],
    ["the key of a person", { nextEndpointId: endpointIdOf(60) }],
    ["the key of a removed node", { nextEndpointId: endpointIdOf(3) }],
    ["its own key", { nextEndpointId: present }],
  ])("refuse %s", (_, fields) => {
    const replica = withNodeTwo();
    replica.apply(admit(3));
    replica.apply({ type: "node.remove", nodeId: 3 });
    const token = sampleToken("laptop", { endpointId: endpointIdOf(60), role: "viewer" });
    expect(replica.apply({ type: "token.create", token, ticketId: null })).toMatchObject({ ok: true });
    expect(replica.apply(offer(fields))).toMatchObject(conflict);
    expect(recordIn(replica)?.nextKey).toBeUndefined();
  });

  it("refuse a node that leaves, and where no key can be banned any more", () => {
    const replica = withNodeTwo();
    for (let at = 0; at < limits.bansMax; at++) {
      const endpointId = at.toString(16).padStart(64, "0");
      replica.state.banned.set(endpointId, { endpointId, nodeId: 9, role: null, bannedUnixMs: 0, index: 1 });
    }
    expect(replica.apply(offer())).toMatchObject(conflict);
    replica.state.banned.clear();
    replica.apply({ type: "node.update", nodeId: 2, leaving: true });
    expect(replica.apply(offer())).toMatchObject(conflict);
    expect(replica.apply(offer({ nodeId: 7 }))).toMatchObject({ ok: false, code: "NODE_NOT_FOUND" });
  });

  it("keep a next key from everybody else, and ban it with the present one", () => {
    const replica = withNodeTwo();
    replica.apply(offer());
    expect(replica.apply(admit(7, { endpointId: next }))).toMatchObject({ ok: false, code: "DUPLICATE_NODE" });
    const token = sampleToken("laptop", { endpointId: next, role: "viewer" });
    expect(replica.apply({ type: "token.create", token, ticketId: null })).toMatchObject(conflict);
    replica.apply({ type: "ban.add", nodeId: 2, endpointId: present, acceptTwoCopies: [] });
    expect([...replica.state.banned.keys()]).toEqual([present, next]);
  });

  it("go on for a node that lost its store meanwhile, under either key", () => {
    for (const endpointId of [present, next]) {
      const replica = withNodeTwo();
      replica.apply(offer());
      expect(replica.apply(admit(2, { endpointId, storeId: "b".repeat(32) }))).toMatchObject({ ok: true });
      expect(recordIn(replica)).toMatchObject({ incarnation: 2, endpointId: present, nextKey: { endpointId: next } });
      expect(replica.apply(use())).toMatchObject(conflict);
      expect(replica.apply(use({ incarnation: 2 }))).toMatchObject({ ok: true });
      replica.apply(admit(2, { endpointId: next, storeId: "c".repeat(32) }));
      expect(recordIn(replica)).toMatchObject({ incarnation: 3, endpointId: next, keyNumber: 1 });
    }
  });
});
