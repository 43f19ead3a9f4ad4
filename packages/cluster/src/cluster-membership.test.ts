import { BlixardError, sleep, toHex } from "@blixard/common";
import { decodeTicket, encodeTicket, featureLevels, showTicket } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { requestJoin } from "./start/join-flow.ts";
import { nodeKey } from "./state-machine/state.ts";
import { adminToken, ClusterGroup, localProof, until } from "./testing/cluster-group.ts";
import { endpointIdOf } from "./testing/memory-cluster-network.ts";
import { ticketCrypto } from "./testing/ticket-crypto.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const spec = { memoryMiB: 64, image: "demo" };
const others = (id: number) => [1, 2, 3].filter((other) => other !== id);

describe("ClusterNode: joining", () => {
  const joinWith = (id: number, text: string) =>
    group.start(id, { mode: "join", target: group.target(text, id), timeoutMs: 3_000, onAdmitted: async () => {} });

  it("refuses a ticket that was used, revoked, has expired or has another secret", async () => {
    await group.bootstrap();
    const used = await group.ticket();
    await group.join(2, used);
    await expect(joinWith(3, used)).rejects.toMatchObject({ code: "TICKET_USED" });
    const revoked = await group.ticket();
    await group.call(2, "ticket.revoke", { id: decodeTicket(revoked).ticketId });
    await expect(joinWith(4, revoked)).rejects.toMatchObject({ code: "TICKET_INVALID" });
    const wrong = encodeTicket({ ...decodeTicket(await group.ticket()), secret: new Uint8Array(32) });
    await expect(joinWith(5, wrong)).rejects.toMatchObject({ code: "TICKET_INVALID" });
    const expired = await group.ticket({ ttlSeconds: 1 });
    group.clockOffsetMs = 2_000;
    await expect(joinWith(6, expired)).rejects.toMatchObject({ code: "TICKET_EXPIRED" });
    expect([...group.node(1).state.nodes.values()].map(({ id }) => id)).toEqual([1, 2]);
  });

  it("keeps the secret out of the state and of lists", async () => {
    await group.bootstrap();
    const text = await group.ticket({ nodeName: "two" });
    const secret = toHex(decodeTicket(text).secret);
    const { items } = await group.call(1, "ticket.list", {});
    expect(items).toMatchObject([{ nodeName: "two", usedBy: null, revoked: false }]);
    expect(JSON.stringify([items, [...group.node(1).state.tickets.values()]])).not.toContain(secret);
    expect(items[0]).not.toHaveProperty("proofKey");
  });

  it("publishes what its drivers can do once every member keeps it", async () => {
    const published = () =>
      [...group.node(1).state.nodes.values()].map(({ capacity }) => capacity.capabilities?.[0]?.kind);
    group.machine(1).options = { featureLevel: 1 };
    await group.bootstrap();
    await group.join(2, await group.ticket());
    // Node 1 would drop the field: its replica must not differ.
    expect(published()).toEqual([undefined, undefined]);
    group.machine(1).options = {};
    await group.restart(1);
    await until(() => published().every((kind) => kind === "fake"));
    expect(published()).toHaveLength(2);
  });

  it("refuses the id of another machine, also while that one is down", async () => {
    await group.form(3);
    const ticket = decodeTicket(await group.ticket());
    await group.machine(2).stop();
    const other = group.network.join(2, endpointIdOf(99));
    const joiner = {
      nodeId: 2,
      endpointId: endpointIdOf(99),
      addresses: [],
      capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
      version: "",
      featureLevel: featureLevels.own,
    };
    const deps = { transport: other.transport, clock: group.clock, random: group.random };
    const ask = (fields: Partial<typeof joiner>) => {
      const given = { ...joiner, ...fields };
      const show = (asked: string) => showTicket(ticket, { holder: given.endpointId, asked }, ticketCrypto);
      return requestJoin(deps, { endpoints: ticket.endpoints, ticket: show }, given, { timeoutMs: 5_000 });
    };
    await expect(ask({})).rejects.toMatchObject({ code: "DUPLICATE_NODE" });
    // Nor the key of another machine: the connection proves which one it is.
    await expect(ask({ nodeId: 4, endpointId: endpointIdOf(1) })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  it("lets a machine join without a ticket that proves where it runs, unless the policy wants one", async () => {
    await group.bootstrap();
    const endpoints = [{ endpointId: endpointIdOf(1), addresses: ["127.0.0.1:7001"] }];
    const byAddress = (id: number, proof: string | undefined, onPending = () => {}) =>
      group.start(id, {
        mode: "join",
        target: { endpoints, ticket: null, localProof: async () => proof },
        timeoutMs: 3_000,
        onPending,
        onAdmitted: async () => {},
      });
    for (const proof of [undefined, "b".repeat(64)]) {
      const waits = new Promise<void>((resolve) => {
        byAddress(3, proof, resolve).catch(() => {});
      });
      await waits;
      expect((await group.call(1, "join.list", {})).items).toMatchObject([{ nodeId: 3 }]);
      await group.machine(3).stop();
    }
    await (await byAddress(2, localProof)).untilReady();
    await group.untilVoters(2);
    const strict = new ClusterGroup({ joinPolicy: "ticket" });
    await strict.bootstrap();
    const refused = strict.start(2, {
      mode: "join",
      target: { endpoints, ticket: null },
      timeoutMs: 3_000,
      onAdmitted: async () => {},
    });
    await expect(refused).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await strict.close();
  });

  it("goes on with what the cluster said when it stopped before it got any state", async () => {
    await group.bootstrap();
    const target = group.target(await group.ticket(), 2);
    const machine = group.machine(2);
    const interrupted = group.start(2, {
      mode: "join",
      target,
      onAdmitted: async (seed) => {
        machine.seed = seed;
        throw new BlixardError("STORAGE_FAILED", "the power went");
      },
    });
    await expect(interrupted).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    await (await group.restart(2)).untilReady();
    await group.untilVoters(2);
  });
});

describe("ClusterNode: members", () => {
  it("brings a node in by a snapshot when the log before it is gone", async () => {
    const small = new ClusterGroup({ raft: { snapshotEntries: 20, trailingEntries: 5, snapshotChunkBytes: 512 } });
    await small.bootstrap();
    for (let count = 0; count < 60; count++)
      await small.call(1, "kv.put", { key: `k${count}`, value: "v".repeat(100) });
    await small.call(1, "vm.create", { name: "web", spec });
    await small.join(2, await small.ticket());
    await small.untilVoters(2);
    expect(small.node(2).status().snapshotIndex).toBeGreaterThan(0);
    expect((await small.call(2, "kv.list", { prefix: "k" })).items).toHaveLength(60);
    // A retry of a request that the snapshot remembers is still the same request.
    const meta = small.meta();
    await small.node(1).call("kv.put", { key: "once", value: "1" }, meta);
    await small.call(2, "kv.put", { key: "once", value: "2" });
    await small.node(2).call("kv.put", { key: "once", value: "1" }, meta);
    expect(await small.call(2, "kv.get", { key: "once" })).toMatchObject({ value: "2" });
    const index = Math.max(...small.nodes().map((node) => node.status().commitIndex));
    await until(() => small.nodes().every((node) => node.status().appliedIndex >= index));
    const hashes = await Promise.all([1, 2].map((id) => small.call(id, "debug.stateHash", { index })));
    expect(hashes[0]).toEqual(hashes[1]);
    await small.close();
  });

  it("makes a voter a learner and back, the leader too", async () => {
    await group.form(3);
    const leader = group.leaderId();
    const roleOf = (id: number) => group.node(id).status().role;
    await group.call(1, "member.setRole", { id: leader, role: "learner" });
    await until(() => roleOf(leader) === "learner");
    expect(group.leaderId()).not.toBe(leader);
    const voter = others(leader)[0] ?? 0;
    await expect(group.call(leader, "kv.put", { key: "k", value: "v" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(() => group.node(leader).authenticate(adminToken)).toThrow(expect.objectContaining({ code: "MISDIRECTED" }));
    await group.call(voter, "member.setRole", { id: leader, role: "voter" });
    await until(() => roleOf(leader) === "follower");
  });

  it("places nothing on a cordoned node, and shows what each node carries", async () => {
    await group.form(2);
    await group.call(2, "node.cordon", { id: 1, cordoned: true });
    for (const name of ["a", "b"]) await group.call(1, "vm.create", { name, spec });
    const { items } = await group.call(2, "node.list", {});
    expect(items).toMatchObject([
      { id: 1, cordoned: true, state: "ready", vms: 0, usedMemoryMiB: 0 },
      { id: 2, cordoned: false, state: "ready", vms: 2, usedMemoryMiB: 256 },
    ]);
    expect((await group.call(1, "vm.get", { name: "a" })).placement).toContain("node 1: it is cordoned");
  });
});

describe("ClusterNode: removal", () => {
  it("takes a node out: its record goes, the others go on, and its key is told REMOVED", async () => {
    await group.form(3);
    const gone = others(group.leaderId())[0] ?? 0;
    await group.call(group.leaderId(), "member.remove", { id: gone });
    const { error } = await group.node(gone).lifecycle.until(({ phase }) => phase === "removed");
    expect(error).toMatchObject({ code: "REMOVED" });
    await expect(group.call(gone, "kv.get", { key: "k" })).rejects.toMatchObject({ code: "REMOVED" });
    await group.machine(gone).stop();
    expect(group.machine(gone).vmManager.wasStopped).toBe(true);
    const [first = 0, second = 0] = others(gone);
    await group.call(first, "kv.put", { key: "k", value: "v" });
    expect(await group.call(second, "kv.get", { key: "k" })).toMatchObject({ value: "v" });
    expect(group.node(first).state.nodes.has(nodeKey(gone))).toBe(false);
  });

  it("takes a leader out through its successor", async () => {
    await group.form(3);
    const gone = group.leaderId();
    await group.call(gone, "member.remove", { id: gone });
    await until(() => group.leaderId() !== 0 && group.leaderId() !== gone);
    await until(() => group.node(group.leaderId()).status().members.length === 2);
  });

  it("tells a node that was removed while it was down, when it comes back", async () => {
    await group.form(3);
    const gone = others(group.leaderId())[0] ?? 0;
    await group.machine(gone).stop();
    await until(() => group.leaderId() !== 0);
    await group.call(group.leaderId(), "member.remove", { id: gone, force: true });
    const node = await group.restart(gone);
    await node.lifecycle.until(({ phase }) => phase === "removed");
    await expect(node.untilReady()).rejects.toMatchObject({ code: "REMOVED" });
  });

  it("refuses to lose the quorum, or VMs, unless forced", async () => {
    await group.form(3);
    const leader = group.leaderId();
    const [down = 0, up = 0] = others(leader);
    await group.call(leader, "vm.create", { name: "a", spec });
    const owner = group.node(leader).state.vms.get("a")?.node ?? 0;
    for (const named of [{}, { force: true }, { force: true, acceptTwoCopies: ["b"] }]) {
      await expect(group.call(leader, "member.remove", { id: owner, ...named })).rejects.toMatchObject({
        code: "CONFLICT",
        message: expect.stringContaining("a"),
        details: { vms: ["a"] },
        outcome: "not_applied",
      });
    }
    await expect(group.call(leader, "member.remove", { id: owner, acceptTwoCopies: ["a"] })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await group.call(leader, "vm.desire", { name: "a", desired: "deleted", force: true });
    await group.machine(down).stop();
    const stateOf = async (id: number) => (await group.call(leader, "node.get", { id })).state;
    while ((await stateOf(down)) !== "unreachable") await sleep(group.clock, 5);
    await expect(group.call(leader, "member.remove", { id: up })).rejects.toMatchObject({ code: "QUORUM_AT_RISK" });
    await group.call(leader, "member.remove", { id: down });
    await until(() => group.node(leader).status().members.length === 2);
  });
});
