/** The tests of the Raft lane: what each key may send there, in clusters of real processes. */
import { encodePeerMessages } from "@blixard/protocol/peer-messages";
import { beforeAll, expect, it } from "@jest/globals";
import { roles } from "./call-wall.ts";
import { forged, neverTravel, typesFor } from "./raft-attacks.ts";
import type { Siege } from "./siege.ts";
import { living, stolen, until } from "./wall-cluster.ts";

export function describeRaftLane(siege: () => Siege): void {
  const other = (id: number) => siege().cluster.peer(id);

  const term = 1;
  const nowhere = { term, lastLogIndex: 1, lastLogTerm: 1 };
  const attackOf = (type: string, from: number, to: number) => ({ type, from, to, term, position: nowhere });

  beforeAll(async () => {
    await siege().steal();
    for (const role of roles) siege().thief(role).meet(living.map(other));
    for (const role of ["voter", "witness", "learner", "worker"] as const) {
      await until(`the sessions of the ${role}`, async () =>
        siege()
          .thief(role)
          .sessions()
          .every((state) => state === "ready"),
      );
    }
  });

  /** How often each of the nodes that run has refused each type, by role. */
  const refused = () => Promise.all(living.map((id) => siege().cluster.refused(id)));
  const termNow = async () =>
    Math.max(...(await Promise.all(living.map((id) => statusOf(id)))).map(({ term }) => term));
  const statusOf = (id: number) => siege().cluster.client(id).status();

  it("has no way to send what a node tells itself only", () => {
    for (const type of neverTravel) {
      const message = forged({ ...attackOf(type, stolen.voter, 1), withEntry: false });
      expect(() => encodePeerMessages([message])).toThrow(expect.objectContaining({ code: "INVARIANT" }));
    }
  });

  it.each(["removed", "stranger"] as const)("of a %s gets no session", async (role) => {
    const changed = await siege().changedBy(async () => {
      const thief = siege().thief(role);
      for (const to of living) {
        for (const type of typesFor("unknown").refused) {
          thief.send(to, forged({ ...attackOf(type, thief.nodeId, to), withEntry: true }));
        }
      }
      await until("the refusal", async () => thief.sessions().every((state) => /unknown peer/.test(state)));
    });
    expect(changed).toEqual([]);
  });

  it.each(["worker", "learner", "witness", "voter"] as const)(
    "of a %s is not heard with what is not its",
    async (role) => {
      const thief = siege().thief(role);
      const { taken, refused: types } = typesFor(role);
      const votes = role === "voter" || role === "witness";
      // Who does not vote brings no higher term, with nothing.
      const sent = votes ? types : [...types, ...taken.filter((type) => type.startsWith("Msg"))];
      const asked = siege().thief("voter").vouchesAsked;
      const before = await refused();
      const changed = await siege().changedBy(async () => {
        for (const round of [1, 2]) {
          for (const to of living) {
            const position = await statusOf(to);
            for (const type of sent) {
              // What it may never send is refused in the present term as well.
              const term = position.term + (round === 1 || taken.includes(type) ? 1 : 0);
              thief.send(to, forged({ type, from: thief.nodeId, to, term, position, withEntry: true }));
            }
          }
          await until(`the refusals of round ${round}`, async () =>
            (await refused()).every((counts, at) =>
              sent.every((type) => countOf(counts, type, role) >= countOf(before[at], type, role) + round),
            ),
          );
          // Meanwhile the voters were asked about it.
          if (!votes)
            await until("the questions to the voters", async () => siege().thief("voter").vouchesAsked > asked);
        }
      });
      expect(changed).toEqual([]);
      const after = await refused();
      const counted = after.map((counts, at) =>
        Object.fromEntries(sent.map((type) => [type, countOf(counts, type, role) - countOf(before[at], type, role)])),
      );
      expect(counted).toEqual(living.map(() => Object.fromEntries(sent.map((type) => [type, 2]))));
      expect([siege().thief("worker").vouchesAsked, siege().thief("learner").vouchesAsked]).toEqual([0, 0]);
    },
  );

  it.each(["worker", "learner"] as const)("of a %s acknowledges and reads", async (role) => {
    const thief = siege().thief(role);
    const { nodeId: to } = await siege().leader();
    const before = await refused();
    const position = await statusOf(to);
    const heard = (type: string) => thief.heardFrom(type).includes(to);
    const changed = await siege().changedBy(async () => {
      for (const type of typesFor(role).taken) {
        thief.send(to, forged({ type, from: thief.nodeId, to, term: position.term, position, withEntry: false }));
      }
      await until("what it said it lacks", async () => heard("MsgApp"));
      await until("an index to read at", async () => heard("MsgReadIndexResp"));
    });
    expect(changed).toEqual([]);
    expect(await refused()).toEqual(before);
  });

  // The last one: what a voter says is believed, and there is no leader after that.
  it.each(["witness", "voter"] as const)("of a %s is believed in elections and about the log", async (role) => {
    const thief = siege().thief(role);
    const before = await refused();
    for (const type of typesFor(role).taken) {
      const term = (await termNow()) + 1;
      thief.heard.length = 0;
      const positions = await Promise.all(living.map(statusOf));
      const send = () => {
        for (const [at, position] of positions.entries()) {
          const to = living[at] ?? 0;
          thief.send(to, forged({ type, from: thief.nodeId, to, term, position, withEntry: false }));
        }
      };
      send();
      const answered = (name: string) => thief.heardFrom(name).length === living.length;
      await until(`the effect of ${type}`, async () => {
        if (type === "MsgPreVote") return answered("MsgPreVoteResp");
        if (type === "snapshotChunk") {
          // The state that another one has begun to send is given up first.
          send();
          return answered("snapshotAck");
        }
        // Of a state that nobody sends: nothing shows that it was heard, but that it was not refused.
        if (type === "snapshotAck") return true;
        return (await Promise.all(living.map(statusOf))).every((status) => status.term >= term);
      });
    }
    expect(await refused()).toEqual(before);
  });
}

function countOf(counts: ReadonlyMap<string, number> | undefined, type: string, role: string): number {
  return counts?.get(`${type} of a ${role}`) ?? 0;
}
