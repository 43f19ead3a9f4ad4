import { seededRandom } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createMemoryNetwork } from "../memory/index.ts";
import {
  append,
  asId,
  type FixtureNode,
  heartbeat,
  introduce,
  startNode,
  stateOf,
  until,
} from "../testing/transport-fixture.ts";
import { transportLimits } from "../transport-limits.ts";

const idOf = (nodeId: number) => nodeId.toString(16).padStart(64, "0");

describe("PeerSession", () => {
  const nodes: FixtureNode[] = [];
  const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(2) });
  const start = async (nodeId: number) => {
    const node = await startNode(nodeId, { adapter: network.createAdapter({ endpointId: idOf(nodeId) }) });
    nodes.push(node);
    return node;
  };
  const pair = async () => {
    const both = [await start(1), await start(2)] as const;
    introduce(both);
    return both;
  };
  const bothReady = ([one, two]: readonly [FixtureNode, FixtureNode]) =>
    until(() => stateOf(one, 2) === "ready" && stateOf(two, 1) === "ready");
  /** Lets messages pass both ways, sent again like Raft does, because a transport may lose them. */
  const exchange = async ([one, two]: readonly [FixtureNode, FixtureNode], rounds: number) => {
    const goals = [one, two].map(({ received }) => received.value.length + rounds);
    await until(() => {
      one.transport.peers.send(asId(2), heartbeat(1, 2));
      two.transport.peers.send(asId(1), heartbeat(2, 1));
      return [one, two].every(({ received }, at) => received.value.length >= (goals[at] ?? 0));
    });
  };
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map(({ transport }) => transport.close()));
    network.heal();
    for (const [from, to] of [
      [1, 2],
      [2, 1],
    ] as const) {
      network.setLatency(idOf(from), idOf(to), 0);
      network.setLoss(idOf(from), idOf(to), 0);
    }
  });

  it.each([20, 90, 200, 350])("settles on one connection when both dial at once, %i ms apart", async (latencyMs) => {
    network.setLatency(idOf(1), idOf(2), latencyMs);
    network.setLatency(idOf(2), idOf(1), latencyMs);
    const both = await pair();
    await bothReady(both);
    await exchange(both, 20);
    expect(both.map(({ unreachable }) => unreachable.value)).toEqual([[], []]);
    expect(both.map(({ transport }) => transport.refusals())).toEqual([{}, {}]);
  });

  it("takes the heartbeats of an idle peer for contact", async () => {
    const both = await pair();
    await bothReady(both);
    // Without contact the time since the last one only grows; with it, it falls back again and again.
    let before = 0;
    let falls = 0;
    await until(() => {
      const now = both[0].transport.sessions()[0]?.lastContactMs ?? 0;
      if (now < before) falls++;
      before = now;
      return falls >= 3;
    });
  });

  it("takes a new life of the peer over the old one, which nobody has missed yet", async () => {
    const both = await pair();
    await bothReady(both);
    const [one, two] = both;
    (two.adapter as unknown as { crash(): void }).crash();
    const again = await start(2);
    again.transport.setPeers([one.peer(), again.peer()]);
    await until(() => stateOf(again, 1) === "ready");
    expect(one.unreachable.value).toEqual([]);
    await exchange([one, again], 2);
  });

  it("sees a one-way failure from both sides", async () => {
    const both = await pair();
    await bothReady(both);
    network.block(idOf(1), idOf(2));
    await Promise.all(both.map(({ unreachable }, at) => unreachable.until((all) => all.includes(2 - at))));
    network.heal();
    await bothReady(both);
    await exchange(both, 2);
  });

  it("stays up while a fifth of the packets must be sent again", async () => {
    const both = await pair();
    await bothReady(both);
    network.setLoss(idOf(1), idOf(2), 0.2);
    network.setLoss(idOf(2), idOf(1), 0.2);
    await exchange(both, 40);
  });

  it("lets a heartbeat overtake what the appends have queued, and drops what does not fit", async () => {
    const [one, two] = await pair();
    await bothReady([one, two]);
    network.block(idOf(1), idOf(2));
    const entry = new Uint8Array(1024 * 1024);
    const accepted = Array.from({ length: 30 }, (_, at) =>
      one.transport.peers.send(asId(2), append(1, 2, at + 1, entry)),
    );
    expect(accepted.filter((ok) => ok).length).toBeLessThan(transportLimits.queueBytesMax / entry.length + 3);
    expect(one.unreachable.value).toEqual([2]);
    expect(one.transport.peers.send(asId(2), heartbeat(1, 2))).toBe(true);
    network.heal();
    const received = await two.received.until((all) => all.some(({ message }) => isHeartbeat(message)));
    expect(received.findIndex(({ message }) => isHeartbeat(message))).toBeLessThan(6);
    expect(one.transport.sessions()[0]?.droppedMessages).toBe(accepted.filter((ok) => !ok).length);
  });
});

function isHeartbeat(message: ReturnType<typeof heartbeat>): boolean {
  return message.type === "raft" && message.message.type === "MsgHeartbeat";
}
