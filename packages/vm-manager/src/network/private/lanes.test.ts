import { describe, expect, it } from "@jest/globals";
import { lengthBytes } from "../frame-reader.ts";
import type { CarrierEndpoint, FrameCarrier, FrameLink } from "./frame-carrier.ts";
import { encodeRecords, type LaneRecord } from "./lane-record.ts";
import { Lanes, laneBytesMax } from "./lanes.ts";

const networkId = "11111111-2222-4333-8444-555555555555";
const records = (...frames: string[]) =>
  encodeRecords(
    networkId,
    4,
    frames.map((text) => Buffer.from(text)),
  );

/** Carriers in one process. Writes wait while `isStuck`. */
class MemoryCarriers {
  readonly #listening = new Map<string, { admits: (id: string) => boolean; onLink: (link: FrameLink) => void }>();
  isStuck = false;
  #unstick: (() => void)[] = [];
  readonly links: FrameLink[] = [];

  unstick(): void {
    this.isStuck = false;
    for (const go of this.#unstick.splice(0)) go();
  }

  open(endpointId: string): FrameCarrier {
    return {
      endpoint: () => ({ endpointId, direct: [], addresses: [] }),
      connect: async (to) => this.#connect(endpointId, to),
      listen: async (admits, onLink) => void this.#listening.set(to(endpointId), { admits, onLink }),
      close: async () => {},
    };
  }

  #connect(from: string, { endpointId }: CarrierEndpoint): FrameLink {
    const there = this.#listening.get(to(endpointId));
    const chunks: Uint8Array[] = [];
    let closed = false;
    let wake = () => {};
    const close = () => {
      closed = true;
      wake();
    };
    const shared = { remoteEndpointId: endpointId, close };
    const incoming: FrameLink = {
      ...{ ...shared, remoteEndpointId: from, write: async () => {} },
      read: async () => {
        while (chunks.length === 0 && !closed) await new Promise<void>((resolve) => (wake = resolve));
        return chunks.shift();
      },
    };
    if (there?.admits(from) === true) there.onLink(incoming);
    else closed = true;
    const link: FrameLink = {
      ...{ ...shared, read: async () => undefined },
      write: async (bytes) => {
        if (this.isStuck) await new Promise<void>((resolve) => this.#unstick.push(resolve));
        if (closed) throw new Error("closed");
        chunks.push(bytes);
        wake();
      },
    };
    this.links.push(link);
    return link;
  }
}
const to = (endpointId: string) => endpointId;

async function openPair() {
  const carriers = new MemoryCarriers();
  const got: { readonly from: number; readonly record: LaneRecord | undefined }[] = [];
  let nowMs = 0;
  const open = async (endpointId: string) => {
    const lanes = new Lanes({
      carrier: carriers.open(endpointId),
      nowMs: () => nowMs,
      onRecords: (from, all) => got.push(...all.map((record) => ({ from, record }))),
    });
    await lanes.listen();
    return lanes;
  };
  const [one, two] = [await open("one"), await open("two")];
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  one.setPeers([{ nodeId: 2, endpointId: "two", direct: [], addresses: [] }]);
  two.setPeers([{ nodeId: 1, endpointId: "one", direct: [], addresses: [] }]);
  return { carriers, one, two, got, settle, later: (ms: number) => (nowMs += ms) };
}

describe("Lanes", () => {
  it("carry records to the switch of a node, which learns from the key whose they are", async () => {
    const { one, got, settle } = await openPair();
    expect(one.send(2, records("a", "b"))).toBeUndefined();
    expect(one.send(2, records("c"))).toBeUndefined();
    expect(one.send(3, records("d"))).toBe("no_lane");
    await settle();
    expect(got.map(({ from, record }) => [from, record?.epoch, record?.frame.toString()])).toEqual([
      [1, 4, "a"],
      [1, 4, "b"],
      [1, 4, "c"],
    ]);
    expect(got[0]?.record?.networkId).toBe(networkId);
    expect(one.connected).toEqual([2]);
  });

  it("hold so many bytes for a node that does not take them, and lose the rest", async () => {
    const { carriers, one, got, settle } = await openPair();
    carriers.isStuck = true;
    const piece = records("x".repeat(60_000));
    let taken = 0;
    while (one.send(2, piece) === undefined) taken += piece.length;
    expect(one.send(2, piece)).toBe("full");
    expect(taken).toBeLessThanOrEqual(laneBytesMax);
    expect(taken).toBeGreaterThan(laneBytesMax - 2 * piece.length);
    carriers.unstick();
    await settle();
    expect(got.reduce((sum, { record }) => sum + lengthBytes + 20 + (record?.frame.length ?? 0), 0)).toBe(taken);
    expect(one.send(2, piece)).toBeUndefined();
  });

  it("take nothing from a switch that no neighbour has", async () => {
    const { one, two, got, settle, later } = await openPair();
    two.setPeers([{ nodeId: 1, endpointId: "another", direct: [], addresses: [] }]);
    one.send(2, records("a"));
    await settle();
    expect(got).toEqual([]);
    // It waits before it tries again, and what comes meanwhile is lost.
    expect(one.send(2, records("b"))).toBe("no_lane");
    two.setPeers([{ nodeId: 1, endpointId: "one", direct: [], addresses: [] }]);
    later(60_000);
    expect(one.send(2, records("c"))).toBeUndefined();
    await settle();
    expect(got.map(({ record }) => record?.frame.toString())).toEqual(["c"]);
  });

  it("tell why nothing passes to a node, until something does or nobody has tried for long", async () => {
    const { one, two, settle, later } = await openPair();
    two.setPeers([{ nodeId: 1, endpointId: "another", direct: [], addresses: [] }]);
    const fail = async () => {
      later(60_000);
      expect(one.send(2, records("a"))).toBeUndefined();
      await settle();
    };
    await fail();
    // That may be a switch that is started anew.
    expect(one.problems.size).toBe(0);
    await fail();
    expect([...one.problems.keys()]).toEqual([2]);
    later(120_001);
    expect(one.problems.size).toBe(0);
    await fail();
    expect(one.problems.get(2)).toMatch(/./);
    two.setPeers([{ nodeId: 1, endpointId: "one", direct: [], addresses: [] }]);
    later(60_000);
    expect(one.send(2, records("b"))).toBeUndefined();
    await settle();
    expect(one.problems.size).toBe(0);
    expect([one.send(3, records("c")), one.send(3, records("c"))]).toEqual(["no_lane", "no_lane"]);
    expect(one.problems.size).toBe(0);
    later(10_000);
    expect(one.send(3, records("c"))).toBe("no_lane");
    expect([...one.problems]).toEqual([[3, "it has not said which switch it has"]]);
    one.setPeers([{ nodeId: 3, endpointId: "three", direct: [], addresses: [] }]);
    expect(one.problems.size).toBe(0);
  });

  it("end a connection with a switch that is no neighbour's any more", async () => {
    const { one, two, got, settle } = await openPair();
    one.send(2, records("a"));
    await settle();
    two.setPeers([]);
    one.send(2, records("b"));
    await settle();
    expect(got.map(({ record }) => record?.frame.toString())).toEqual(["a"]);
  });
});
