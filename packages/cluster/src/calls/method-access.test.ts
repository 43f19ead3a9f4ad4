/** Every method of the service against every kind of caller: a method that is added is in these tables by itself. */
import { errorCodeOf } from "@blixard/common";
import {
  type CallMeta,
  encodeServiceCall,
  featureLevels,
  forwardRpcMethod,
  type MethodAccess,
  type MethodName,
  methods,
} from "@blixard/protocol";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { ClusterTransport } from "../ports/cluster-transport.ts";
import { ClusterGroup } from "../testing/cluster-group.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";

const names = Object.keys(methods) as MethodName[];
const nodeRoles = ["voter", "learner", "worker", "witness"] as const;
const people = ["viewer", "operator", "admin"] as const;
const callers = ["stranger", "removed", "banned", ...people, ...nodeRoles] as const;
type CallerKind = (typeof callers)[number];

/** What each kind may call, by the access that the method asks for. */
const allowed: Readonly<Record<CallerKind, readonly MethodAccess[]>> = {
  stranger: ["anyone", "ticket"],
  removed: ["anyone", "ticket"],
  banned: ["anyone"],
  viewer: ["anyone", "ticket", "local", "viewer"],
  operator: ["anyone", "ticket", "local", "viewer", "operator"],
  admin: ["anyone", "ticket", "local", "viewer", "operator", "admin"],
  voter: ["anyone", "ticket", "local", "viewer", "node"],
  learner: ["anyone", "ticket", "local", "viewer", "node"],
  worker: ["anyone", "ticket", "local", "viewer", "node"],
  witness: ["anyone", "ticket", "local", "viewer", "node"],
};
const refusals: Readonly<Partial<Record<CallerKind, string>>> = {
  ...{ stranger: "UNKNOWN_PEER", removed: "REMOVED", banned: "REMOVED" },
};
/** No method has such a field: whoever may call is told so, and nothing is done. */
const bogus = { "no such field": 1 };
/** A caller that claims everything: only its key counts. */
const claims: Partial<CallMeta> = { access: "admin", actor: { kind: "token", id: "admin" } };

let group: ClusterGroup;
const transports = new Map<CallerKind, ClusterTransport>();

beforeAll(async () => {
  group = new ClusterGroup();
  await group.bootstrap();
  for (const [at, kind] of callers.entries()) {
    const transport = outsider(20 + at);
    transports.set(kind, transport);
    if (kind === "viewer" || kind === "operator" || kind === "admin") await redeem(transport, 20 + at, kind);
    else if (kind !== "stranger")
      await join(transport, 20 + at, kind === "removed" || kind === "banned" ? "learner" : kind);
  }
  await group.call(1, "member.remove", { id: 20 + callers.indexOf("removed"), force: true });
  await group.call(1, "ban.add", { id: 20 + callers.indexOf("banned"), force: true });
});
afterAll(async () => {
  await group.close();
});

function outsider(id: number): ClusterTransport {
  return group.network.join(id, endpointIdOf(id)).transport;
}

function transportOf(kind: CallerKind): ClusterTransport {
  const transport = transports.get(kind);
  if (transport === undefined) throw new Error(`there is no ${kind}`);
  return transport;
}

/** The code with which node 1 answers; OK when it does what was asked. */
async function answerTo(
  transport: ClusterTransport,
  method: string,
  name: string,
  request: unknown,
  meta: Partial<CallMeta> = claims,
): Promise<string> {
  const payload = encodeServiceCall({ name, request, meta: group.meta(meta) });
  const nodeOne = { endpointId: endpointIdOf(1), addresses: ["127.0.0.1:7001"] };
  try {
    await transport.call(nodeOne, method, payload, { timeoutMs: 5_000 });
    return "OK";
  } catch (error) {
    return errorCodeOf(error) ?? "none";
  }
}

async function shown(role: (typeof nodeRoles)[number] | (typeof people)[number], id: number) {
  return group.shown(await group.ticket({ role }), id);
}

async function redeem(transport: ClusterTransport, id: number, role: (typeof people)[number]): Promise<void> {
  const request = { ticket: await shown(role, id), endpointId: endpointIdOf(id), name: `laptop-${id}` };
  expect(await answerTo(transport, "token.redeem", "token.redeem", request)).toBe("OK");
}

async function join(transport: ClusterTransport, id: number, role: (typeof nodeRoles)[number]): Promise<void> {
  const request = {
    ticket: await shown(role, id),
    nodeId: id,
    endpointId: endpointIdOf(id),
    addresses: [`127.0.0.1:${7_000 + id}`],
    capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
    version: "0.0.0-test",
    featureLevel: featureLevels.own,
  };
  expect(await answerTo(transport, "join.request", "join.request", request)).toBe("OK");
}

describe("the access of every method", () => {
  it.each(callers)("is held against a %s, by its key and not by what it says", async (kind) => {
    const answers: Record<string, string> = {};
    const expected: Record<string, string> = {};
    for (const name of names) {
      answers[name] = await answerTo(transportOf(kind), name, name, bogus);
      // What is read at the owner of a VM is for people.
      const isNode = nodeRoles.some((role) => role === kind);
      const may = allowed[kind].includes(methods[name].access) && !(isNode && methods[name].place === "owner");
      expected[name] = may ? "INVALID_ARGUMENT" : (refusals[kind] ?? "PERMISSION_DENIED");
    }
    expect(answers).toEqual(expected);
  });

  it.each(["stranger", "removed", "banned", ...people] as const)("cannot be passed on by a %s", async (kind) => {
    const answers = new Set<string>();
    for (const name of names) answers.add(await answerTo(transportOf(kind), forwardRpcMethod, name, bogus));
    expect([...answers]).toEqual([refusals[kind] ?? "UNKNOWN_PEER"]);
  });

  it("is held against the holder of a token", async () => {
    for (const access of ["anyone", ...people] as const) {
      const kind = access === "anyone" ? "stranger" : access;
      for (const name of names) {
        const may = allowed[kind].includes(methods[name].access);
        const refusal = access === "anyone" ? "UNAUTHENTICATED" : "PERMISSION_DENIED";
        const call = group.call(1, name, bogus as never, { access });
        await expect(call).rejects.toMatchObject({ code: may ? "INVALID_ARGUMENT" : refusal });
      }
    }
  });
});

describe("what nodes say of themselves", () => {
  const own = { vcpus: 1, memoryMiB: 1, drivers: [] };
  /** A good request of each method in which a node speaks for itself. */
  const requests: Readonly<Partial<Record<MethodName, object>>> = {
    "vm.observe": { observations: [] },
    "vm.observeCopy": { copies: [] },
    "volume.observe": { observations: [] },
    "image.observe": { held: [], lost: [] },
    "node.update": { capacity: own },
    "node.renewLease": {},
    "token.own": { tokenHash: "a".repeat(64) },
    "node.verify": { incarnation: 1, storeId: "a".repeat(32), starts: 1, term: 0, lastIndex: 0 },
  };
  const speaks = names.filter((name) => methods[name].access === "node" && "nodeId" in methods[name].request.shape);

  it("is all in the table of this test", () => {
    expect(Object.keys(requests).sort()).toEqual([...speaks].sort());
  });

  it.each(nodeRoles)("is not taken from a %s that speaks for another node, nor passed on by it", async (kind) => {
    const lies = { access: "node", actor: { kind: "node", id: "1" } } as const;
    for (const name of speaks) {
      const request = { ...requests[name], nodeId: 1 };
      expect([name, await answerTo(transportOf(kind), name, name, request)]).toEqual([name, "PERMISSION_DENIED"]);
      const passed = await answerTo(transportOf(kind), forwardRpcMethod, name, request, lies);
      expect([name, passed]).toEqual([name, "PERMISSION_DENIED"]);
    }
    expect(
      group
        .node(1)
        .status()
        .members.map(({ id }) => id),
    ).toContain(1);
  });
});
