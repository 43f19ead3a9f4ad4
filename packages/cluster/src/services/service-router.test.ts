import { toHex } from "@blixard/common";
import {
  type CallMeta,
  decodeServiceResponse,
  decodeTicket,
  encodeServiceCall,
  forwardRpcMethod,
  type RequestOf,
} from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { ClusterTransport } from "../cluster-transport.ts";
import { requestJoin } from "../join-flow.ts";
import { ClusterGroup, until } from "../testing/cluster-group.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";

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
  return group.network.join(id, endpointIdOf(id), async () => new Uint8Array(0)).transport;
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

async function joinAs(id: number, role: "operator" | "viewer"): Promise<ClusterTransport> {
  const transport = outsider(id);
  const ticket = decodeTicket(await group.ticket({ role }));
  const shown = { id: ticket.ticketId, secret: toHex(ticket.secret) };
  const joiner: Omit<RequestOf<"join.request">, "ticket"> = {
    nodeId: id,
    endpointId: endpointIdOf(id),
    addresses: [],
    capacity: { vcpus: 0, memoryMiB: 0, drivers: [] },
    version: "",
    featureLevel: 1,
  };
  const deps = { transport, clock: group.clock, random: group.random };
  await requestJoin(deps, { endpoints: ticket.endpoints, ticket: shown }, joiner, { timeoutMs: 5_000 });
  return transport;
}

describe("ServiceRouter.handleRpc", () => {
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
    const viewer = await joinAs(8, "viewer");
    const claims = { access: "admin", actor: { kind: "token", id: "admin" } } as const;
    expect(await ask(viewer, "kv.list", "kv.list", {}, claims)).toMatchObject({ items: [] });
    const put = { key: "k", value: "v" };
    await expect(ask(viewer, "kv.put", "kv.put", put, claims)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(ask(viewer, forwardRpcMethod, "kv.put", put, claims)).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    const operator = await joinAs(7, "operator");
    await ask(operator, "kv.put", "kv.put", put, { access: "anyone" });
    expect(group.node(1).state.kv.get("k")?.value).toBe("v");
  });

  it("keeps operators and viewers out of the Raft group", async () => {
    await joinAs(7, "operator");
    await group.join(2, await group.ticket());
    await until(() => group.node(1).status().members.length === 2);
    expect(
      group
        .node(1)
        .status()
        .members.map(({ id }) => id),
    ).toEqual([1, 2]);
  });

  it("lets a member speak for itself only", async () => {
    const node = await group.join(2, await group.ticket());
    const meta = group.meta({ access: "node", actor: { kind: "node", id: "2" } });
    await expect(node.call("node.update", { nodeId: 1, addresses: [] }, meta)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    await expect(node.call("leave.request", { nodeId: 1 }, meta)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  it("refuses payloads and methods that are none", async () => {
    const stranger = outsider(9);
    const raw = (method: string, payload: Uint8Array) => stranger.call(nodeOne, method, payload, { timeoutMs: 5_000 });
    await expect(raw("identity.get", Uint8Array.of(0xc1, 1, 2))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(raw("identity.get", new Uint8Array(0))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const payload = encodeServiceCall({ name: "x", request: {}, meta: group.meta() });
    await expect(raw("constructor", payload)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("answers NOT_LEADER to a call that was passed on too often, instead of passing it on for ever", async () => {
    await group.join(2, await group.ticket());
    await group.untilVoters(2);
    const follower = group.leaderId() === 1 ? 2 : 1;
    const put = group.call(follower, "kv.put", { key: "k", value: "v" }, { hops: 2 });
    await expect(put).rejects.toMatchObject({ code: "NOT_LEADER", details: { leaderId: group.leaderId() } });
  });
});
