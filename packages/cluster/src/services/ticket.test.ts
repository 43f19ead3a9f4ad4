/** What a node that is no voter, or a stranger, can do with what it sees of tickets. */
import { errorCodeOf, toHex } from "@blixard/common";
import {
  decodeServiceResponse,
  decodeTicket,
  encodeServiceCall,
  featureLevels,
  forwardRpcMethod,
  type ShownTicket,
  signedTicketsSince,
} from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ticketGuardLimits } from "../calls/ticket-guard.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { ClusterGroup, until } from "../testing/cluster-group.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const joiner = (id: number) => ({
  nodeId: id,
  endpointId: endpointIdOf(id),
  addresses: [`127.0.0.1:${7_000 + id}`],
  capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
  version: "",
  featureLevel: featureLevels.own,
});

/** Asks node `to` with the key of `holder`, as a machine that joins or as a person. */
async function show(ticket: ShownTicket, holder: number, to: number, method = "join.request"): Promise<string> {
  const { transport } = group.network.join(holder, endpointIdOf(holder));
  const request =
    method === "join.request" ? { ...joiner(holder), ticket } : { ticket, endpointId: endpointIdOf(holder) };
  const payload = encodeServiceCall({ name: method, request, meta: group.meta() });
  try {
    const target = { endpointId: endpointIdOf(to), addresses: [] };
    decodeServiceResponse(await transport.call(target, method, payload, { timeoutMs: 5_000 }));
    return "OK";
  } catch (error) {
    return errorCodeOf(error) ?? "none";
  }
}

const withWorker = async () => {
  await group.form(2);
  await group.join(3, await group.ticket({ role: "worker" }));
};

describe("a ticket", () => {
  it("names voters only, those of a person's answer too", async () => {
    await withWorker();
    const voters = [endpointIdOf(1), endpointIdOf(2)];
    const named = decodeTicket(await group.ticket()).endpoints.map(({ endpointId }) => endpointId);
    expect(named.sort()).toEqual(voters.sort());
  });

  it("is of no use at another node, nor under another key, than it was shown by and to", async () => {
    await group.form(2);
    const ticket = await group.ticket();
    expect(await show(group.shown(ticket, 7, 1), 8, 1)).toBe("TICKET_INVALID");
    expect(await show(group.shown(ticket, 7, 1), 7, 2)).toBe("TICKET_INVALID");
    expect(await show(group.shown(ticket, 7, 1), 7, 1)).toBe("OK");
  });

  it("is taken from no worker, whether the holder asks it or it passes on what it was shown", async () => {
    await withWorker();
    const ticket = await group.ticket();
    const shownToWorker = group.shown(ticket, 7, 3);
    expect(await show(shownToWorker, 7, 3)).toBe("MISDIRECTED");
    // The worker has the key of its connection; what it passes on is in the name of the machine that asked it.
    const forwarded = async (shown: ShownTicket) => {
      const { transport } = group.network.join(3, endpointIdOf(3));
      const actor = { kind: "node", id: endpointIdOf(7) } as const;
      const request = { ...joiner(7), ticket: shown };
      const payload = encodeServiceCall({ name: "join.request", request, meta: group.meta({ actor, hops: 1 }) });
      const target = { endpointId: endpointIdOf(1), addresses: [] };
      return transport.call(target, forwardRpcMethod, payload, { timeoutMs: 5_000 });
    };
    await expect(forwarded(shownToWorker)).rejects.toBeDefined();
    expect(group.node(1).state.nodes.size).toBe(3);
  });

  it("cannot be shown with all that a worker's copy of the state holds", async () => {
    await withWorker();
    const ticket = await group.ticket();
    const { ticketId, secret } = decodeTicket(ticket);
    await until(() => group.node(3).state.tickets.has(ticketId));
    const copy = group.node(3).state.tickets.get(ticketId);
    expect(JSON.stringify([...group.node(3).state.tickets.values()])).not.toContain(toHex(secret));
    const proofKey = copy?.proofKey ?? "";
    for (const secretShown of [proofKey, toHex(secret)]) {
      expect(await show({ id: ticketId, secret: secretShown }, 3, 1, "token.redeem")).toBe("TICKET_INVALID");
    }
    const signature = proofKey.repeat(2);
    const forged = { id: ticketId, asked: endpointIdOf(1), signature };
    expect(await show(forged, 7, 1)).toBe("TICKET_INVALID");
    expect(await show(group.shown(ticket, 7), 7, 1)).toBe("OK");
  });

  it("that was made below the level of signatures is redeemed as it was, also after that", async () => {
    group = new ClusterGroup({ featureLevel: signedTicketsSince - 1 });
    await group.bootstrap();
    const [machine, person] = [await group.ticket(), await group.ticket({ role: "viewer" })];
    expect(decodeTicket(machine).shownBy).toBe("secret");
    group.machine(1).options = { featureLevel: signedTicketsSince };
    await (await group.restart(1)).untilReady();
    await until(() => clusterLevel(group.node(1).state) === signedTicketsSince);
    expect(decodeTicket(await group.ticket()).shownBy).toBe("signature");
    expect(await show(group.shown(person, 8), 8, 1, "token.redeem")).toBe("OK");
    expect(await show(group.shown(machine, 7), 7, 1)).toBe("OK");
  });

  it("that is spent costs no entry of the log", async () => {
    await group.bootstrap();
    const ticket = await group.ticket();
    expect(await show(group.shown(ticket, 7), 7, 1)).toBe("OK");
    const { commitIndex } = group.node(1).status();
    expect(await show(group.shown(ticket, 8), 8, 1)).toBe("TICKET_USED");
    expect(group.node(1).status().commitIndex).toBe(commitIndex);
  });
});

describe("wrong tickets under ever new keys", () => {
  it("keep no right one out, at a leader and at a follower", async () => {
    await group.form(2);
    for (const to of [1, 2]) {
      const ticket = await group.ticket();
      const { ticketId } = decodeTicket(ticket);
      await until(() => group.node(to).state.tickets.has(ticketId));
      const answers = new Set<string>();
      const wrong = { id: "aaaaaaaaaaaa", secret: "00".repeat(32) };
      for (let holder = 100; holder < 110 + ticketGuardLimits.leaderAsksMax; holder++) {
        answers.add(await show(wrong, holder, to, "token.redeem"));
      }
      // A follower asks the leader about so many and no more.
      const expected = to === group.leaderId() ? ["TICKET_INVALID"] : ["TICKET_INVALID", "OVERLOADED"];
      expect([...answers]).toEqual(expected);
      expect(await show(group.shown(ticket, 50 + to, to), 50 + to, to)).toBe("OK");
    }
  });
});
