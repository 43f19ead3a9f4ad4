/** What the key of a member that does not vote can do in the name of others, and which nodes serve people at all. */
import { errorCodeOf } from "@blixard/common";
import {
  type CallMeta,
  decodeTicket,
  encodeServiceCall,
  forwardRpcMethod,
  type MethodName,
  methods,
  type StreamName,
  streams,
} from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { adminToken, ClusterGroup, localProof, until } from "../testing/cluster-group.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";

const names = Object.keys(methods) as MethodName[];
const streamNames = Object.keys(streams) as StreamName[];
const claims: readonly Partial<CallMeta>[] = [
  { access: "admin", actor: { kind: "token", id: "admin" } },
  { access: "admin", actor: { kind: "system", id: "leader" } },
  { access: "anyone", actor: { kind: "node", id: endpointIdOf(9) } },
  { access: "node", actor: { kind: "node", id: "1" } },
  { access: "admin", actor: { kind: "node", id: "4" } },
];

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const nodeOne = { endpointId: endpointIdOf(1), addresses: ["127.0.0.1:7001"] };

async function answerTo(method: string, name: string, meta: Partial<CallMeta>, opens = false): Promise<string> {
  const { transport } = group.machine(4);
  if (transport === undefined) throw new Error("node 4 has not started");
  const payload = encodeServiceCall({ name, request: {}, meta: group.meta(meta) });
  try {
    const port = opens ? transport.stream?.bind(transport) : transport.call.bind(transport);
    await port?.(nodeOne, method, payload, { timeoutMs: 5_000 });
    return "OK";
  } catch (error) {
    return errorCodeOf(error) ?? "none";
  }
}

describe.each(["worker", "learner", "witness"] as const)("the key of a %s", (role) => {
  // Each on its own: all of them at once are more calls than a member may make.
  it.each(claims)("passes on no call and no stream in the name of anybody else, as %j", async (meta) => {
    await group.bootstrap();
    await group.join(4, await group.ticket({ role }));
    const before = group.node(1).state;
    const [tokens, tickets, kv] = [before.tokens.size, before.tickets.size, before.kv.size];
    const codes = new Set<string>();
    for (const name of names) codes.add(await answerTo(forwardRpcMethod, name, meta));
    for (const name of streamNames) codes.add(await answerTo(forwardRpcMethod, name, meta, true));
    expect([...codes].filter((code) => !["PERMISSION_DENIED", "UNAVAILABLE"].includes(code))).toEqual([]);
    expect(codes.size).toBeGreaterThan(0);
    const { state } = group.node(1);
    expect([state.tokens.size, state.tickets.size, state.kv.size]).toEqual([tokens, tickets, kv]);
    // Its own calls still pass on.
    const own = { access: "node", actor: { kind: "node", id: "4" } } as const;
    expect(await answerTo(forwardRpcMethod, "kv.list", own)).toBe("OK");
  });

  it("serves nobody who shows a token, a key or a ticket, and says who does", async () => {
    await group.bootstrap();
    await group.join(4, await group.ticket({ role }));
    const voters = [{ endpointId: endpointIdOf(1), addresses: ["127.0.0.1:7001"] }];
    const refusal = expect.objectContaining({ code: "MISDIRECTED", details: { voters } });
    expect(() => group.node(4).authenticate(adminToken)).toThrow(refusal as never);
    const person = group.network.join(8, endpointIdOf(8)).transport;
    const ask = async (to: number, name: MethodName, request: object) => {
      const place = { endpointId: endpointIdOf(to), addresses: [`127.0.0.1:${7_000 + to}`] };
      const payload = encodeServiceCall({ name, request, meta: group.meta() });
      return person.call(place, name, payload, { timeoutMs: 5_000 }).then(() => "OK", errorCodeOf);
    };
    const ticket = await group.ticket({ role: "viewer" });
    expect(decodeTicket(ticket).endpoints.map(({ endpointId }) => endpointId)).toEqual([endpointIdOf(1)]);
    const redeem = (asked: number) =>
      ask(asked, "token.redeem", { ticket: group.shown(ticket, 8, asked), endpointId: endpointIdOf(8) });
    expect(await redeem(4)).toBe("MISDIRECTED");
    expect(await redeem(1)).toBe("OK");
    await until(() => group.node(4).state.tokens.size === 2);
    const answers = await Promise.all((["kv.list", "status.get", "vm.list"] as const).map((name) => ask(4, name, {})));
    expect(answers).toEqual(["MISDIRECTED", "MISDIRECTED", "MISDIRECTED"]);
    expect(await ask(4, "identity.get", {})).toBe("OK");
  });
});

describe("a machine that asks a worker to join without a ticket", () => {
  it("goes on at the voters that the worker names", async () => {
    await group.bootstrap();
    await group.join(4, await group.ticket({ role: "worker" }));
    const worker = { endpointId: endpointIdOf(4), addresses: ["127.0.0.1:7004"] };
    const target = { endpoints: [worker], ticket: null, localProof: async () => localProof };
    const onAdmitted = async () => {};
    const node = await group.start(5, { mode: "join", target, timeoutMs: 10_000, onAdmitted });
    await node.untilReady();
    expect(group.node(1).state.nodes.size).toBe(3);
  });
});
