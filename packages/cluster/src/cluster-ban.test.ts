/** A node is taken out as compromised: its key is refused everywhere, and the answer says what it held. */
import { errorCodeOf, toHex } from "@blixard/common";
import { decodeTicket, encodeServiceCall, featureLevels, type MethodName } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { nodeKey } from "./state-machine/state.ts";
import { ClusterGroup, MemoryTokenStore, until } from "./testing/cluster-group.ts";
import { endpointIdOf } from "./testing/memory-cluster-network.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const spec = { memoryMiB: 64, image: "demo" };
const stolen = 4;

/** What a process with the key of node 4 is told at node `to`. */
async function thief(to: number, name: MethodName, request: object): Promise<string> {
  const { transport } = group.network.join(stolen, endpointIdOf(stolen));
  const payload = encodeServiceCall({ name, request, meta: group.meta() });
  const place = { endpointId: endpointIdOf(to), addresses: [`127.0.0.1:${7_000 + to}`] };
  return transport.call(place, name, payload, { timeoutMs: 5_000 }).then(
    () => "OK",
    (error: unknown) => errorCodeOf(error) ?? "none",
  );
}

const shown = async (role: "worker" | "viewer") => {
  const { ticketId, secret } = decodeTicket(await group.ticket({ role }));
  return { id: ticketId, secret: toHex(secret) };
};

describe("a worker whose key was stolen", () => {
  beforeEach(async () => {
    await group.form(2);
    await group.join(stolen, await group.ticket({ role: "worker" }));
    for (const id of [1, 2]) await group.call(1, "node.cordon", { id, cordoned: true });
    await group.call(1, "vm.create", { name: "web", spec });
    expect((await group.call(1, "vm.get", { name: "web" })).node).toBe(stolen);
  });

  it("is refused by every node, under its id and any other, and with any ticket; its VM is started nowhere", async () => {
    const open = await group.call(1, "ticket.create", { role: "viewer" });
    await expect(group.call(2, "ban.add", { id: stolen })).rejects.toMatchObject({
      ...{ code: "CONFLICT", details: { vms: ["web"] }, outcome: "not_applied" },
      hint: expect.stringContaining("--accept-two-copies web"),
    });
    const answer = await group.call(2, "ban.add", { id: stolen, acceptTwoCopies: ["web"] });
    expect(answer).toMatchObject({
      ...{ nodeId: stolen, endpointId: endpointIdOf(stolen), role: "worker", vms: ["web"] },
      revoked: { tokens: [], tickets: [open.id] },
    });
    // It was shown no token, and made none in anybody's name.
    expect(answer.secrets.map(({ kind }) => kind)).toEqual(["node-key", "tickets", "state", "vms", "tls-key"]);
    const { error } = await group.node(stolen).lifecycle.until(({ phase }) => phase === "removed");
    expect(error).toMatchObject({ code: "REMOVED" });
    await group.machine(stolen).stop();
    expect(group.machine(stolen).vmManager.wasStopped).toBe(true);
    await until(() => [1, 2].every((id) => group.node(id).state.banned.size === 1));
    const joiner = {
      ...{ nodeId: 9, endpointId: endpointIdOf(stolen), addresses: [], version: "", featureLevel: featureLevels.own },
      capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
    };
    for (const to of [1, 2]) {
      const told = [
        await thief(to, "join.request", { ...joiner, ticket: await shown("worker") }),
        await thief(to, "join.request", { ...joiner, nodeId: stolen, ticket: null }),
        await thief(to, "token.redeem", { ticket: await shown("viewer"), endpointId: endpointIdOf(stolen) }),
        await thief(to, "kv.list", {}),
        await thief(to, "vm.observe", { nodeId: stolen, observations: [] }),
      ];
      expect(new Set(told)).toEqual(new Set(["REMOVED"]));
    }
    expect(await group.call(1, "vm.get", { name: "web" })).toMatchObject({ node: null, phase: "Unknown" });
    expect((await group.call(2, "ban.list", {})).items).toMatchObject([{ nodeId: stolen, role: "worker" }]);
    // The id is free for a machine with another key.
    expect(group.node(1).state.nodes.has(nodeKey(stolen))).toBe(false);
  });
});

describe("a voter whose key was stolen", () => {
  it("loses its token and is named with the tokens that it was shown or could make", async () => {
    group.machine(2).ownToken = new MemoryTokenStore();
    await group.form(3);
    await until(() => group.node(1).state.tokens.has("node-2"));
    const made = await group.call(1, "token.create", { role: "viewer" });
    await expect(group.call(2, "ban.add", { id: 2 }, { actor: { kind: "token", id: "node-2" } })).rejects.toMatchObject(
      {
        code: "CONFLICT",
        message: expect.stringContaining("the compromised node itself"),
      },
    );
    const answer = await group.call(3, "ban.add", { id: 2 });
    expect(answer.revoked.tokens).toEqual(["node-2"]);
    const idsOf = (kind: string) => answer.secrets.find((secret) => secret.kind === kind)?.ids;
    expect(idsOf("bearer-tokens")?.sort()).toEqual(["admin", made.id].sort());
    expect(idsOf("made-by-voter")).toEqual([made.id]);
    await until(() => group.nodes().filter((node) => node.status().members.length === 2).length >= 2);
    await group.call(1, "kv.put", { key: "k", value: "v" });
    const again = await group.call(1, "ban.add", { id: 2 });
    expect(again).toMatchObject({ role: "voter", revoked: { tokens: [], tickets: [] } });
  });

  it("hands leadership over when another node is asked, and refuses to judge itself", async () => {
    await group.form(3);
    const gone = group.leaderId();
    const [other = 0] = [1, 2, 3].filter((id) => id !== gone);
    await expect(group.call(gone, "ban.add", { id: gone })).rejects.toMatchObject({
      ...{ code: "CONFLICT", hint: expect.stringContaining("another voter") },
    });
    await group.call(other, "ban.add", { id: gone });
    await until(() => group.leaderId() !== 0 && group.leaderId() !== gone);
    await until(() => group.node(group.leaderId()).status().members.length === 2);
  });

  it("goes from a group of two as well, whose other voter needs its acknowledgement until then", async () => {
    await group.form(2);
    const leader = group.leaderId();
    const gone = 3 - leader;
    await group.call(leader, "ban.add", { id: gone });
    await group.machine(gone).stop();
    await group.call(leader, "kv.put", { key: "k", value: "v" });
  });
});
