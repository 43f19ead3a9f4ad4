/**
 * What a stolen key can do. A cluster of real processes with a node of each role; the key of each, of a removed node and of a
 * stranger speaks to it: every method and stream, in every way in which it can be asked, and every type of Raft message.
 * What is right stands in the tables of `inside-the-wall/`, by hand; what is refused changes nothing anywhere.
 */
import { toHex } from "@blixard/common";
import { createSignatures } from "@blixard/identity";
import { addressClaimBytes, type RequestOf } from "@blixard/protocol";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { callWall, claimWall, roles, wayNames, wrongKind } from "./inside-the-wall/call-wall.ts";
import { describeRaftLane } from "./inside-the-wall/raft-lane.ts";
import { changes, claimRequests } from "./inside-the-wall/requests.ts";
import { names, type Question, Siege } from "./inside-the-wall/siege.ts";
import { isStream } from "./inside-the-wall/thief.ts";
import { living, stolen } from "./inside-the-wall/wall-cluster.ts";

let siege: Siege;
beforeAll(async () => {
  siege = await Siege.start();
});
afterAll(async () => {
  await siege?.close();
});

const lastIndex = async () => (await siege.cluster.client().status()).appliedIndex;
const other = (id: number) => siege.cluster.peer(id);
/** The refusals of the state machine are entries of the log as well. */
const isDone = (code: string | undefined) => code === "OK" || code === "CONFLICT";

describe("a node that does not vote", () => {
  const members = ["witness", "learner", "worker"] as const;

  it("sends the key of an administrator to the voters, whatever it asks", async () => {
    const person = await siege.person();
    const index = await lastIndex();
    const at = await siege.leader();
    expect(await person.ask(at, { name: "kv.list", way: "own", request: {} })).toMatchObject({ code: "OK" });
    const wrong: string[] = [];
    for (const [place, role] of members.entries()) {
      for (const name of names) {
        const request = siege.request(name, person, "own", index);
        const { code } = await person.ask(other(stolen[role]), { name, way: "own", request });
        const wanted = callWall.get(name)?.person[place];
        if (code !== wanted) wrong.push(`${name} at a ${role}: ${code} and not ${wanted}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("takes no token", async () => {
    const headers = { authorization: `Bearer ${await siege.cluster.node(living[0]).token()}` };
    for (const role of members) {
      const { http } = siege.cluster.node(stolen[role]).ready;
      expect([role, (await fetch(`${http}/v1/kv`, { headers })).status]).toEqual([role, 421]);
    }
  });
});

describe("a stolen key", () => {
  beforeAll(() => siege.steal());

  it("does nothing that its role may not, in whatever way it asks, and reads what it may", async () => {
    await siege.knock("prey");
    const [index, leader] = [await lastIndex(), await siege.leader()];
    let wrong: string[] = [];
    const changed = await siege.changedBy(async () => {
      wrong = await siege.ask(function* (role, thief): Iterable<Question> {
        for (const name of names) {
          for (const way of wayNames) {
            const wanted = callWall.get(name)?.cells[way][roles.indexOf(role)];
            // What is done is done below, one after the other.
            if (isDone(wanted) && changes[name] !== undefined) continue;
            yield { to: leader, name, way, request: siege.request(name, thief, way, index), wanted };
          }
        }
      });
    });
    expect({ wrong, changed }).toEqual({ wrong: [], changed: [] });
  });

  it("passes nothing on through a follower, and nothing by the name of a stream or a call that is none", async () => {
    const [index, leader, follower] = [await lastIndex(), await siege.leader(), other(living[1])];
    let wrong: string[] = [];
    const changed = await siege.changedBy(async () => {
      wrong = await siege.ask(function* (role, thief): Iterable<Question> {
        const at = roles.indexOf(role);
        for (const name of names) {
          for (const way of wayNames) {
            const request = siege.request(name, thief, way, index);
            const wanted = callWall.get(name)?.cells[way][at];
            // What it asks in its own name is answered with the place of the leader.
            const isOther = way !== "own" && way !== "passed" && role !== "voter";
            if (isOther) yield { to: follower, name, way, request, wanted };
            const asStream = !isStream(name);
            const what = asStream ? `${name} as a stream` : `${name} as a call`;
            yield { to: leader, name, way, request, wanted: wrongKind.cells[way][at], asStream, what };
          }
        }
      });
    });
    expect({ wrong, changed }).toEqual({ wrong: [], changed: [] });
  });

  it("says nothing of another node that anybody believes", async () => {
    const [leader, about] = [await siege.leader(), living[2]];
    let wrong: string[] = [];
    const changed = await siege.changedBy(async () => {
      wrong = await siege.ask(function* (role): Iterable<Question> {
        for (const [what, cells] of claimWall) {
          const [name, request] = claimRequests[what as keyof typeof claimRequests];
          for (const way of ["own", "passed"] as const) {
            const wanted = cells[way][roles.indexOf(role)];
            yield { to: leader, name, way, request: request(about), wanted, what };
          }
        }
      });
    });
    expect({ wrong, changed }).toEqual({ wrong: [], changed: [] });
  });

  it("leads nobody astray about where another node is", async () => {
    const [leader, about] = [await siege.leader(), other(living[2])];
    const { clusterId } = await siege.cluster.client().status();
    const nowhere = "127.0.0.1:9";
    const claim = {
      ...{ nodeId: about.nodeId, endpointId: about.endpointId },
      ...{ addresses: [nowhere], starts: Number.MAX_SAFE_INTEGER },
    };
    const claimsOf = async (role: "voter" | "witness" | "learner" | "worker", claims: readonly object[]) => {
      const asked = { name: "node.addresses", way: "own", request: { claims } } as const;
      const { code, value } = await siege.thief(role).ask(leader, asked);
      return { code, claims: (value as RequestOf<"node.addresses"> | undefined)?.claims ?? [] };
    };
    const changed = await siege.changedBy(async () => {
      for (const role of ["voter", "witness", "learner", "worker"] as const) {
        const proof = { incarnation: 1, sequence: 1 };
        const signed = addressClaimBytes({ clusterId, ...claim, ...proof });
        const signature = toHex(createSignatures(siege.keyOf(role)).sign(signed));
        expect(await claimsOf(role, [claim])).toMatchObject({ code: "OK" });
        expect(await claimsOf(role, [{ ...claim, proof: { ...proof, signature } }])).toMatchObject({ code: "OK" });
        const { claims } = await claimsOf(role, []);
        // What is told on is what the node itself claims.
        const told = claims.filter(({ endpointId }) => endpointId === about.endpointId);
        expect([role, told.flatMap(({ addresses }) => addresses)]).toEqual([role, [...about.addresses]]);
      }
    });
    expect(changed).toEqual([]);
  });

  const done = names.flatMap((name) =>
    wayNames.flatMap((way) =>
      roles.flatMap((role, at) => {
        const cell = callWall.get(name)?.cells[way][at];
        return isDone(cell) && changes[name] !== undefined ? [{ name, way, role, cell }] : [];
      }),
    ),
  );
  // Who leads next has not heard who waits to join.
  const inOrder = [...done].sort((a, b) => Number(a.name === "leader.transfer") - Number(b.name === "leader.transfer"));

  it("changes what its role may, and nothing else", async () => {
    const wrong: unknown[] = [];
    for (const { name, way, role, cell } of inOrder) {
      const [thief, index, leader] = [siege.thief(role), await lastIndex(), await siege.leader()];
      if (name === "join.accept" && (way === "admin" || way === "system")) await siege.knock(way);
      // A ban ends the tickets that are open.
      if (name === "ban.add") await siege.cluster.client().tickets.create({ role: "worker" });
      let code = "";
      const request = siege.request(name, thief, way, index, true);
      const changed = await siege.changedBy(async () => {
        ({ code } = await thief.ask(leader, { name, way, request }));
      });
      const seen = { code, changed: changed.filter((part) => part !== "log") };
      const wanted = { code: cell, changed: cell === "OK" ? changes[name] : [] };
      if (JSON.stringify(seen) !== JSON.stringify(wanted)) wrong.push({ name, way, role, seen, wanted });
    }
    expect(wrong).toEqual([]);
  });
});

describe("a stolen key over gRPC", () => {
  beforeAll(async () => {
    await siege.steal();
    await siege.speakOver("grpc");
  });
  afterAll(() => siege.speakOver("iroh"));

  it.each(["kv.list", "kv.put", "token.create", "vm.console", "node.verify"] as const)(
    "is held alike: %s",
    async (name) => {
      const [index, leader] = [await lastIndex(), await siege.leader()];
      let wrong: string[] = [];
      const changed = await siege.changedBy(async () => {
        wrong = await siege.ask((role, thief) =>
          wayNames.flatMap((way) => {
            const wanted = callWall.get(name)?.cells[way][roles.indexOf(role)];
            if (isDone(wanted) && changes[name] !== undefined) return [];
            return [{ to: leader, name, way, request: siege.request(name, thief, way, index), wanted }];
          }),
        );
      });
      expect({ wrong, changed }).toEqual({ wrong: [], changed: [] });
    },
  );
});

describe("a stolen key on the Raft lane", () => describeRaftLane(() => siege));
