import { BlixardError, fromUtf8, toUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import type { NodeId } from "../core/types.ts";
import type { PeerMessage, SnapshotCarrier, SnapshotMeta } from "../ports.ts";
import { RaftGroup, type RaftMember } from "../testing/raft-group.ts";

const options = { snapshotEntries: 20, trailingEntries: 5, snapshotChunkBytes: 64 };

/** A carrier that reads the store of the node that offers. */
class StoreCarrier implements SnapshotCarrier {
  readonly id: NodeId;
  readonly world: World;

  constructor(id: NodeId, world: World) {
    this.id = id;
    this.world = world;
  }

  async offer(meta: SnapshotMeta): Promise<Uint8Array> {
    if (this.world.refuseOffers) throw new BlixardError("UNAVAILABLE", "nothing is offered");
    return fromUtf8(`${this.id}/${meta.index}`);
  }

  async *fetch(from: NodeId, meta: SnapshotMeta, reference: Uint8Array): AsyncIterable<Uint8Array> {
    this.world.fetched.push(toUtf8(reference));
    expect(toUtf8(reference)).toBe(`${from}/${meta.index}`);
    const source = this.world.group?.member(from);
    if (source === undefined) throw new Error("there is no group");
    const bytes = await source.snapshots.read(meta.index, 0, meta.sizeBytes - this.world.missingBytes);
    yield bytes.subarray(0, 100);
    await this.world.pause;
    if (this.world.fail) throw new BlixardError("UNAVAILABLE", "the sources are gone");
    yield bytes.subarray(100);
  }
}

interface World {
  group: RaftGroup | undefined;
  readonly fetched: string[];
  refuseOffers: boolean;
  fail: boolean;
  /** For nodes that start from now on. */
  withoutCarrier: boolean;
  missingBytes: number;
  pause: Promise<void> | undefined;
}

/** A group in which a follower needs a snapshot of 60 values; `sent` has the bytes of state in each chunk. */
async function startWithLaggard(changes: Partial<World> = {}) {
  const world: World = {
    ...{
      group: undefined,
      fetched: [],
      refuseOffers: false,
      fail: false,
      withoutCarrier: false,
      missingBytes: 0,
      pause: undefined,
    },
    ...changes,
  };
  const carrier = (id: NodeId) => (world.withoutCarrier ? undefined : new StoreCarrier(id, world));
  const group = await RaftGroup.start({ voters: 3, options, carrier });
  world.group = group;
  await group.propose("start");
  const leader = await group.waitForLeader();
  const follower = [...group.members.values()].find(({ id }) => id !== leader.id) as RaftMember;
  await group.stop(follower.id);
  for (let at = 0; at < 60; at++) await group.propose(`value ${at}`);
  const sent: number[] = [];
  group.network.filter = (_from: NodeId, _to: NodeId, message: PeerMessage) => {
    if (message.type === "snapshotChunk") sent.push(message.data.length);
    return true;
  };
  return { world, group, leader, follower, sent };
}

async function expectWhole(group: RaftGroup, follower: number): Promise<void> {
  const { node, machine } = group.member(follower);
  await group.until("the snapshot", () => node.status.value.snapshotIndex > 0);
  await group.waitForEqualState();
  expect(machine.values).toHaveLength(61);
}

describe("a snapshot with a carrier", () => {
  it("is fetched, and only its offer travels in messages", async () => {
    const { world, group, leader, follower, sent } = await startWithLaggard();
    await group.restart(follower.id);
    await expectWhole(group, follower.id);
    expect(world.fetched).toEqual([`${leader.id}/${(await leader.snapshots.latest())?.index}`]);
    expect(sent).toHaveLength(1);
    await group.close();
  });

  it("keeps the transfer alive for as long as the fetching takes", async () => {
    let goOn = () => {};
    const pause = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const { world, group, leader, follower, sent } = await startWithLaggard({ pause });
    await group.restart(follower.id);
    await group.until("more offers than a silent peer would get", () => sent.length > 30);
    expect(world.fetched).toHaveLength(1);
    expect(leader.node.coreStatus().progress.find(({ id }) => id === follower.id)?.state).toBe("StateSnapshot");
    goOn();
    await expectWhole(group, follower.id);
    await group.close();
  });

  it.each([
    ["the fetching fails", { fail: true }],
    ["what is fetched is too short", { missingBytes: 3 }],
    ["nothing is offered", { refuseOffers: true }],
  ] satisfies [string, Partial<World>][])("comes in messages when %s", async (_, changes: Partial<World>) => {
    const { world, group, follower, sent } = await startWithLaggard(changes);
    await group.restart(follower.id);
    await expectWhole(group, follower.id);
    expect(world.fetched).toHaveLength(world.refuseOffers ? 0 : 1);
    expect(sent.length).toBeGreaterThan(5);
    await group.close();
  });

  it("comes in messages to a node that has no carrier", async () => {
    const { world, group, follower, sent } = await startWithLaggard();
    world.withoutCarrier = true;
    await group.restart(follower.id);
    await expectWhole(group, follower.id);
    expect(sent.length).toBeGreaterThan(5);
    await group.close();
  });
});
