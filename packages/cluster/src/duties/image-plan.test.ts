import type { ImageRecord } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { initBody, sampleNode } from "../testing/command-samples.ts";
import { demoImage } from "../testing/memory-vm-manager.ts";
import { Replica } from "../testing/replica.ts";
import { imageNews, imagesToFetch } from "./image-plan.ts";

const digest = "ab".repeat(32);
const mine: ImageRecord = {
  ...{ ...demoImage, name: "mine", builtin: false, sources: [1] },
  blobs: [{ role: "kernel", digest, sizeBytes: 1 }],
};
const held = new Set([digest]);
const none = new Set<string>();
const everybody = () => true;

let replica: Replica;
const put = (sources: number[]) => replica.apply({ type: "image.put", image: { ...mine, sources } });
const observe = (nodeId: number, names: string[], lost: string[] = []) =>
  replica.apply({ type: "image.observe", nodeId, held: names, lost });
const sources = () => replica.state.images.get("mine")?.sources;
/** The nodes that fetch, each by what it knows itself. */
const fetching = (isReachable = everybody) =>
  [1, 2, 3, 4].filter((id) => imagesToFetch(replica.state, id, none, isReachable).chosen.length > 0);

beforeEach(() => {
  replica = new Replica();
  replica.apply(initBody);
  for (const id of [2, 3]) {
    replica.apply({ type: "node.admit", node: sampleNode(id, { featureLevel: 3 }), ticketId: null });
  }
  const witness = sampleNode(4, { featureLevel: 3, role: "witness" });
  replica.apply({ type: "node.admit", node: witness, ticketId: null });
  replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
  replica.apply({ type: "cluster.setLevel", level: 3 });
  put([1]);
});

describe("the nodes that hold an image", () => {
  it("are those that say so of themselves, and no others", () => {
    expect(imageNews(replica.state, 2, held)).toEqual({ held: ["mine"], lost: [] });
    observe(2, ["mine"]);
    expect(imageNews(replica.state, 2, held)).toEqual({ held: [], lost: [] });
    expect(sources()).toEqual([1, 2]);
    expect(imageNews(replica.state, 1, none)).toEqual({ held: [], lost: ["mine"] });
    observe(1, [], ["mine"]);
    expect(sources()).toEqual([2]);
    expect(observe(9, ["mine"])).toMatchObject({ code: "NODE_NOT_FOUND" });
    observe(3, ["demo", "unknown"]);
    expect(replica.state.images.get("demo")?.sources).toEqual([]);
  });
});

describe("a copy", () => {
  it("is fetched by one node alone while one holds the image, and by none that runs no VMs", () => {
    const [first, ...more] = fetching();
    expect(more).toEqual([]);
    expect([2, 3]).toContain(first);
    observe(first ?? 0, ["mine"]);
    expect(fetching()).toEqual([]);
  });

  it("is fetched by another node while the first choice cannot be reached, or takes nothing new", () => {
    const [first = 0] = fetching();
    const other = first === 2 ? 3 : 2;
    expect(imagesToFetch(replica.state, other, none, (id) => id !== first).chosen).toHaveLength(1);
    replica.apply({ type: "node.update", nodeId: first, cordoned: true });
    expect(fetching()).toEqual([other]);
  });

  it("is fetched when one that held the image is a member no longer", () => {
    observe(2, ["mine"]);
    expect(fetching()).toEqual([]);
    replica.apply({ type: "node.remove", nodeId: 2 });
    expect(fetching()).toEqual([3]);
  });

  it("is not fetched of what nobody holds, and not before all members know of it", () => {
    observe(1, [], ["mine"]);
    expect(fetching()).toEqual([]);
    const before = Replica.initialised();
    before.apply({ type: "image.put", image: mine });
    expect(imagesToFetch(before.state, 2, none, everybody).chosen).toEqual([]);
    expect(imageNews(before.state, 1, none)).toEqual({ held: [], lost: [] });
  });
});

describe("an image that is pinned", () => {
  it("is not removed, stays pinned when more of it is known, and goes when it is let go", () => {
    replica.apply({ type: "image.pin", name: "mine", pinned: true });
    expect(replica.apply({ type: "image.remove", name: "mine" })).toMatchObject({ code: "CONFLICT" });
    put([1, 2]);
    expect(replica.state.images.get("mine")).toMatchObject({ pinned: true, sources: [1, 2] });
    expect(replica.apply({ type: "image.pin", name: "demo", pinned: true })).toMatchObject({ code: "CONFLICT" });
    expect(replica.apply({ type: "image.pin", name: "none", pinned: true })).toMatchObject({ code: "IMAGE_NOT_FOUND" });
    replica.apply({ type: "image.pin", name: "mine", pinned: false });
    expect(replica.apply({ type: "image.remove", name: "mine" })).toMatchObject({ ok: true });
  });
});
