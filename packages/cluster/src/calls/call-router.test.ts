import { errorCodeOf } from "@blixard/common";
import {
  type CallMeta,
  decodeServiceResponse,
  encodeServiceCall,
  featureLevels,
  forwardRpcMethod,
} from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { ClusterTransport } from "../ports/cluster-transport.ts";
import { ClusterGroup, localProof } from "../testing/cluster-group.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";
import { ticketGuardLimits } from "./ticket-guard.ts";

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup();
  await group.bootstrap();
});
afterEach(async () => {
  await group.close();
});

/** A machine with a key of its own that calls node 1. */
function outsider(id: number): ClusterTransport {
  return group.network.join(id, endpointIdOf(id)).transport;
}

const nodeOne = { endpointId: endpointIdOf(1), addresses: ["127.0.0.1:7001"] };

async function ask(
  transport: ClusterTransport,
  method: string,
  name: string,
  request: unknown,
  meta: Partial<CallMeta> = {},
): Promise<unknown> {
  const payload = encodeServiceCall({ name, request, meta: group.meta(meta) });
  return decodeServiceResponse(await transport.call(nodeOne, method, payload, { timeoutMs: 5_000 }));
}

/** A person's machine whose key got the rights of a ticket. */
async function guest(id: number, role: "operator" | "viewer"): Promise<ClusterTransport> {
  const transport = outsider(id);
  await redeem(transport, id, await group.ticket({ role }));
  return transport;
}

async function redeem(transport: ClusterTransport, id: number, ticketText: string): Promise<unknown> {
  const request = { ticket: group.shown(ticketText, id), endpointId: endpointIdOf(id), name: `laptop-${id}` };
  return await ask(transport, "token.redeem", "token.redeem", request);
}

describe("CallRouter.handleRpc", () => {
  it("tells a stranger who it is, and nothing else", async () => {
    const stranger = outsider(9);
    expect(await ask(stranger, "identity.get", "identity.get", {})).toMatchObject({ nodeId: 1 });
    const claims = { access: "admin", actor: { kind: "node", id: "1" } } as const;
    for (const [method, name] of [
      ["kv.list", "kv.list"],
      ["status.get", "status.get"],
      ["vm.observe", "vm.observe"],
      [forwardRpcMethod, "kv.list"],
      [forwardRpcMethod, "join.request"],
    ] as const) {
      await expect(ask(stranger, method, name, {}, claims)).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    }
  });

  it("takes rights from the key, whatever the call says about itself", async () => {
    const viewer = await guest(8, "viewer");
    const claims = { access: "admin", actor: { kind: "token", id: "admin" } } as const;
    expect(await ask(viewer, "kv.list", "kv.list", {}, claims)).toMatchObject({ items: [] });
    const put = { key: "k", value: "v" };
    await expect(ask(viewer, "kv.put", "kv.put", put, claims)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(ask(viewer, forwardRpcMethod, "kv.put", put, claims)).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    const operator = await guest(7, "operator");
    await ask(operator, "kv.put", "kv.put", put, { access: "anyone" });
    expect(group.node(1).state.kv.get("k")?.value).toBe("v");
  });

  it("gives the rights of a ticket to one key, which may ask again, until they are revoked", async () => {
    const text = await group.ticket({ role: "operator", nodeName: "ops" });
    const operator = outsider(7);
    const first = await redeem(operator, 7, text);
    expect(first).toMatchObject({
      clusterId: "test-cluster",
      role: "operator",
      nodes: [{ endpointId: endpointIdOf(1) }],
    });
    expect(await redeem(operator, 7, text)).toEqual(first);
    await expect(redeem(outsider(8), 8, text)).rejects.toMatchObject({ code: "TICKET_USED" });
    await expect(ask(outsider(8), "kv.list", "kv.list", {})).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    const { items } = await group.call(1, "token.list", {});
    const [own] = items.filter(({ endpointId }) => endpointId === endpointIdOf(7));
    expect(own).toMatchObject({ name: "ops", role: "operator" });
    expect([...group.node(1).state.nodes.values()].map(({ id }) => id)).toEqual([1]);
    const revoke = ask(operator, "token.revoke", "token.revoke", { id: own?.id });
    await expect(revoke).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await group.call(1, "token.revoke", { id: own?.id ?? "" });
    await expect(ask(operator, "kv.list", "kv.list", {})).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    await expect(redeem(operator, 7, text)).rejects.toMatchObject({ code: "TICKET_USED" });
  });

  it("refuses the ticket of a node to a person, that of a person to a node, and the key of another", async () => {
    await expect(redeem(outsider(8), 8, await group.ticket())).rejects.toMatchObject({
      code: "TICKET_INVALID",
      message: "this ticket is for a voter",
    });
    const joining = group.join(2, await group.ticket({ role: "viewer" }));
    await expect(joining).rejects.toMatchObject({
      code: "TICKET_INVALID",
      hint: expect.stringContaining("context add"),
    });
    await expect(redeem(outsider(8), 9, await group.ticket({ role: "viewer" }))).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    expect((await group.call(1, "token.list", {})).items).toHaveLength(1);
  });

  it("asks no more for a key that showed too many wrong tickets", async () => {
    const secret = "ab".repeat(32);
    const request = { ticket: { id: "no", secret }, endpointId: endpointIdOf(8) };
    const codes: unknown[] = [];
    for (let count = 0; count <= ticketGuardLimits.perKeyMax; count++) {
      await ask(outsider(8), "token.redeem", "token.redeem", request).catch((error: unknown) => {
        codes.push(errorCodeOf(error));
      });
    }
    expect(codes.slice(0, -1)).toEqual(Array(ticketGuardLimits.perKeyMax).fill("TICKET_INVALID"));
    expect(codes.at(-1)).toBe("OVERLOADED");
  });

  it("lets a machine wait when the node that was asked wants so, whatever its own policy says", async () => {
    const joiner = {
      ticket: null,
      nodeId: 5,
      endpointId: endpointIdOf(5),
      addresses: ["127.0.0.1:7005"],
      capacity: { vcpus: 0, memoryMiB: 0, drivers: [] },
      version: "",
      featureLevel: featureLevels.own,
    };
    const asked = ask(outsider(5), "join.request", "join.request", { ...joiner, approval: true });
    await expect(asked).rejects.toMatchObject({ code: "JOIN_PENDING", hint: expect.stringContaining(endpointIdOf(5)) });
    expect((await group.call(1, "join.list", {})).items).toMatchObject([{ nodeId: 5 }]);
    // What only the node that is asked may say counts for nothing in a request.
    const claimed = ask(outsider(5), "join.request", "join.request", { ...joiner, local: true });
    await expect(claimed).rejects.toMatchObject({ code: "JOIN_PENDING" });
    await ask(outsider(5), "join.request", "join.request", { ...joiner, localProof });
    expect(group.node(1).state.nodes.size).toBe(2);
  });

  it("refuses a recorded join frame, from another key as from the machine that was removed since", async () => {
    const frame = {
      ticket: group.shown(await group.ticket(), 5),
      nodeId: 5,
      endpointId: endpointIdOf(5),
      addresses: ["127.0.0.1:7005"],
      capacity: { vcpus: 0, memoryMiB: 0, drivers: [] },
      version: "",
      featureLevel: featureLevels.own,
    };
    const replay = (key: number, fields: object = {}) =>
      ask(outsider(key), "join.request", "join.request", { ...frame, ...fields });
    expect(await replay(5)).toMatchObject({ role: "voter", incarnation: 1 });
    const { term } = await group.call(1, "status.get", {});
    await expect(replay(6)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const own = { nodeId: 6, endpointId: endpointIdOf(6) };
    await expect(replay(6, own)).rejects.toMatchObject({ code: "TICKET_INVALID" });
    // The machine itself may ask again, because it may have lost the answer.
    expect(await replay(5)).toMatchObject({ role: "voter", incarnation: 1 });
    await group.call(1, "member.remove", { id: 5, force: true });
    await expect(replay(5)).rejects.toMatchObject({ code: "TICKET_USED" });
    await expect(replay(5, { ticket: null })).rejects.toMatchObject({ code: "REMOVED" });
    expect([...group.node(1).state.nodes.keys()]).toHaveLength(1);
    expect((await group.call(1, "status.get", {})).term).toBe(term);
  });

  it("knows the holder of a bearer token until it is revoked", async () => {
    const { id, token } = await group.call(1, "token.create", { role: "viewer", name: "grafana" });
    expect(group.node(1).authenticate(token)).toEqual({ actor: { kind: "token", id }, access: "viewer" });
    expect(JSON.stringify([...group.node(1).state.tokens.values()])).not.toContain(token);
    await group.call(1, "token.revoke", { id });
    expect(group.node(1).authenticate(token)).toBeUndefined();
    await expect(group.call(1, "token.revoke", { id })).rejects.toMatchObject({ code: "TOKEN_NOT_FOUND" });
  });

  it("lets a member speak for itself only", async () => {
    const node = await group.join(2, await group.ticket());
    const meta = group.meta({ access: "node", actor: { kind: "node", id: "2" } });
    await expect(node.call("node.update", { nodeId: 1, addresses: [] }, meta)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });

  it("refuses payloads and methods that are none", async () => {
    const stranger = outsider(9);
    const raw = (method: string, payload: Uint8Array) => stranger.call(nodeOne, method, payload, { timeoutMs: 5_000 });
    await expect(raw("identity.get", Uint8Array.of(0xc1, 1, 2))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(raw("identity.get", new Uint8Array(0))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const payload = encodeServiceCall({ name: "x", request: {}, meta: group.meta() });
    // Every name that this contract does not have is taken for one of a later release.
    await expect(raw("constructor", payload)).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
  });

  it("answers NOT_LEADER to a call that was passed on too often, instead of passing it on for ever", async () => {
    await group.join(2, await group.ticket());
    await group.untilVoters(2);
    const follower = group.leaderId() === 1 ? 2 : 1;
    const put = group.call(follower, "kv.put", { key: "k", value: "v" }, { hops: 2 });
    await expect(put).rejects.toMatchObject({ code: "NOT_LEADER", details: { leaderId: group.leaderId() } });
  });
});
