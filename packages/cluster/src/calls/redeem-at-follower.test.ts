import { decodeServiceResponse, decodeTicket, encodeServiceCall } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "../testing/cluster-group.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup({ raft: { electionTimeoutMs: 2_000 } });
  await group.form(3);
});
afterEach(async () => {
  await group.close();
});

describe("a ticket that is shown to a follower", () => {
  it("gives its rights at that follower at once, though the leader has applied them before it", async () => {
    const follower = [1, 2, 3].find((id) => id !== group.leaderId()) ?? 0;
    const to = { endpointId: endpointIdOf(follower), addresses: [`127.0.0.1:${7_000 + follower}`] };
    const key = endpointIdOf(9);
    const { transport } = group.network.join(9, key);
    const ask = async (name: string, request: unknown) => {
      const payload = encodeServiceCall({ name, request, meta: group.meta() });
      return decodeServiceResponse(await transport.call(to, name, payload, { timeoutMs: 10_000 }));
    };
    const ticket = await group.ticket({ role: "viewer" });
    await until(() => group.node(follower).state.tickets.has(decodeTicket(ticket).ticketId));
    const { commitIndex } = group.node(follower).status();
    // The follower does not hear yet what was committed from here on.
    group.network.passes = (to, message) =>
      to !== follower || message.type !== "raft" || message.message.commit <= commitIndex;
    const shown = group.shown(ticket, 9, follower);
    const redeemed = ask("token.redeem", { ticket: shown, endpointId: key });
    const used = redeemed.then(() => ask("kv.list", {}));
    used.catch(() => {});
    const knows = (id: number) =>
      [...group.node(id).state.tokens.values()].some(({ endpointId }) => endpointId === key);
    await until(() => knows(group.leaderId()));
    expect(knows(follower)).toBe(false);
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    group.network.passes = () => true;
    expect(await used).toMatchObject({ items: [] });
  });
});
