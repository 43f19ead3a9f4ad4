import { discardMetrics, silentLogger, toHex } from "@blixard/common";
import { addressClaimBytes, type NodeRecord } from "@blixard/protocol";
import { VirtualClock } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { bindClusterMetrics } from "../metrics.ts";
import { madeUpSignatures } from "../testing/made-up-signatures.ts";
import { AddressBook } from "./address-book.ts";
import type { AddressClaim } from "./address-claims.ts";

const key = (id: number) => String(id).repeat(64).slice(0, 64);
const clusterId = "the cluster";
const poison = Array.from({ length: 16 }, (_, at) => `6.6.6.6:${at + 1}`);

function record(id: number, fields: Partial<NodeRecord> = {}): NodeRecord {
  return {
    id,
    name: `n${id}`,
    endpointId: key(id),
    addresses: [`10.0.0.${id}:1`],
    role: id === 4 ? "worker" : "voter",
    incarnation: 1,
    capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
    version: "0.0.0",
    featureLevel: 3,
    joinedUnixMs: 0,
    cordoned: false,
    starts: 3,
    ...fields,
  };
}

interface Said extends Partial<Pick<AddressClaim, "addresses" | "starts" | "endpointId">> {
  readonly incarnation?: number;
  readonly sequence?: number;
  readonly clusterId?: string;
  /** The key that signs. Default: that of the node that the claim is about. */
  readonly by?: string;
}

function claim(id: number, said: Said = {}): AddressClaim {
  const { addresses = [`10.9.0.${id}:1`], starts = 4, endpointId = key(id) } = said;
  const { incarnation = 1, sequence = 1, by = endpointId, ...rest } = said;
  const statement = { clusterId, nodeId: id, endpointId, incarnation, starts, sequence, addresses, ...rest };
  const signature = toHex(madeUpSignatures(by).sign(addressClaimBytes(statement)));
  return { nodeId: id, endpointId, addresses, starts, proof: { incarnation, sequence, signature } };
}

const unsigned = ({ proof: _, ...said }: AddressClaim): AddressClaim => said;

class Book {
  readonly clock = new VirtualClock();
  readonly members = [record(1), record(2), record(3), record(4)];
  readonly refused: unknown[] = [];
  addresses = ["10.9.0.1:1"];
  level = 3;
  readonly book: AddressBook;

  constructor(id = 1) {
    const counter = { add: (_: number, labels: unknown) => void this.refused.push(labels) };
    this.book = new AddressBook({
      ...{ clock: this.clock, logger: silentLogger, signatures: madeUpSignatures(key(id)) },
      metrics: { ...bindClusterMetrics(discardMetrics), refusedAddressClaims: counter },
      own: {
        ...{ nodeId: id, endpointId: key(id), starts: 4, addresses: () => this.addresses },
        identity: () => ({ clusterId, incarnation: 1 }),
      },
      clusterLevel: () => this.level,
      members: () => this.members,
    });
  }

  /** As node `from` says it, when enough time has passed since the claims before. */
  async hear(from: number, ...claims: AddressClaim[]): Promise<void> {
    await this.clock.advance(1_000);
    this.book.merge(claims, from);
  }

  of(id: number): readonly string[] {
    const member = this.members.find((known) => known.id === id) ?? record(id);
    const { endpointId, addresses, incarnation, starts = 0 } = member;
    return this.book.complete({ nodeId: id, endpointId, addresses, start: { incarnation, starts } }).addresses;
  }
}

describe("AddressBook", () => {
  it("puts the claim of a later start before the replicated addresses, and passes it on as it was signed", async () => {
    const one = new Book();
    await one.hear(2, claim(2));
    expect(one.of(2)).toEqual(["10.9.0.2:1", "10.0.0.2:1"]);
    expect(one.book.claimsFor(3)).toEqual([claim(1), claim(2)]);
    const three = new Book(3);
    await three.hear(1, ...one.book.claimsFor(3));
    expect([three.of(1), three.of(2)]).toEqual([
      ["10.9.0.1:1", "10.0.0.1:1"],
      ["10.9.0.2:1", "10.0.0.2:1"],
    ]);
  });

  it("goes by incarnation, start and number, and never back", async () => {
    const one = new Book();
    const { book, members } = one;
    const hear = async (...said: Said[]) => {
      for (const each of said) {
        await one.clock.advance(1_000);
        book.merge([claim(2, each)], 2);
      }
      return book.claimsFor(3)[1]?.addresses;
    };
    expect(await hear({ addresses: ["a:5"], starts: 5 }, { addresses: ["a:4"], starts: 4 })).toEqual(["a:5"]);
    expect(await hear({ addresses: ["b:5"], starts: 5 })).toEqual(["a:5"]);
    expect(await hear({ addresses: ["c:5"], starts: 5, sequence: 2 })).toEqual(["c:5"]);
    expect(await hear({ addresses: ["d:5"], starts: 5, sequence: 1 })).toEqual(["c:5"]);
    expect(await hear({ addresses: ["e:1"], starts: 9, incarnation: 2 })).toEqual(["c:5"]);
    members[1] = record(2, { incarnation: 2, starts: 1 });
    expect(await hear({ addresses: ["e:1"], starts: 1, incarnation: 2 })).toEqual(["e:1"]);
  });

  it("takes no claim that another key has signed, and none of what came with it", async () => {
    const one = new Book();
    const forged: Said = { addresses: poison, starts: Number.MAX_SAFE_INTEGER, by: key(4) };
    await one.hear(4, claim(2, forged), claim(3));
    await one.hear(3, claim(2, { ...forged, by: key(3) }));
    await one.hear(3, claim(2, { clusterId: "another cluster" }));
    await one.hear(3, { ...claim(2), addresses: poison });
    expect([one.of(2), one.of(3)]).toEqual([["10.0.0.2:1"], ["10.0.0.3:1"]]);
    expect(one.book.claimsFor(3)).toEqual([claim(1)]);
    expect(one.refused).toEqual([
      { reason: "forged", by: "worker" },
      ...Array.from({ length: 3 }, () => ({ reason: "forged", by: "voter" })),
    ]);
  });

  it("takes no claim without a signature, and below the level only of the node itself", async () => {
    const one = new Book();
    await one.hear(2, unsigned(claim(2)), claim(3));
    expect([one.of(2), one.of(3)]).toEqual([["10.0.0.2:1"], ["10.9.0.3:1", "10.0.0.3:1"]]);
    one.level = 2;
    await one.hear(4, unsigned(claim(2)));
    expect(one.of(2)).toEqual(["10.0.0.2:1"]);
    await one.hear(2, unsigned(claim(2)));
    expect(one.of(2)).toEqual(["10.9.0.2:1", "10.0.0.2:1"]);
    // Nobody could verify it.
    expect(one.book.claimsFor(4)).toEqual([claim(1), claim(3)]);
    expect(one.refused).toEqual([
      { reason: "unsigned", by: "voter" },
      { reason: "unsigned", by: "worker" },
    ]);
  });

  it("tells members of an earlier release what they understand", async () => {
    const one = new Book();
    one.members[3] = record(4, { featureLevel: 2 });
    await one.hear(2, claim(2));
    const recorded = { nodeId: 3, endpointId: key(3), addresses: ["10.0.0.3:1"], starts: 3 };
    const told = one.book.claimsFor(4).filter(({ nodeId }) => nodeId !== 4);
    expect(told).toEqual([unsigned(claim(1)), unsigned(claim(2)), recorded]);
  });

  it("signs anew when the addresses of this node have changed, and only then", () => {
    const one = new Book();
    const sequences = [["a:1"], ["a:1"], ["a:2"], ["a:1"]].map((addresses) => {
      one.addresses = addresses;
      return one.book.claimsFor(2)[0]?.proof?.sequence;
    });
    expect(sequences).toEqual([1, 1, 2, 3]);
    one.addresses = Array.from({ length: 16 }, (_, at) => `${"x".repeat(250)}${at}:1`);
    expect(one.book.claimsFor(2)[0]?.addresses.length).toBe(8);
  });

  it("takes neither claims that are too long nor several at once", async () => {
    const one = new Book();
    await one.hear(2, claim(2, { addresses: Array.from({ length: 9 }, (_, at) => `${"x".repeat(250)}${at}:1`) }));
    expect(one.refused).toEqual([{ reason: "oversized", by: "voter" }]);
    await one.hear(2, claim(2, { starts: 5 }), claim(2, { starts: 6, addresses: ["10.8.0.2:1"] }));
    expect(one.of(2)).toEqual(["10.9.0.2:1", "10.0.0.2:1"]);
    await one.hear(2, claim(2, { starts: 6, addresses: ["10.8.0.2:1"] }));
    expect(one.of(2)).toEqual(["10.8.0.2:1", "10.0.0.2:1"]);
  });

  it("reaches a node whose key has claimed absurd things: at its record, and alone when it is admitted again", async () => {
    const one = new Book();
    const absurd = { addresses: poison, starts: Number.MAX_SAFE_INTEGER, sequence: Number.MAX_SAFE_INTEGER };
    await one.hear(2, claim(2, absurd));
    one.members[1] = record(2, { starts: 4, addresses: ["10.0.0.2:1", "10.0.0.2:2", "10.0.0.2:3", "10.0.0.2:4"] });
    expect(one.of(2)).toEqual(expect.arrayContaining(["10.0.0.2:1", "10.0.0.2:4"]));
    one.members[1] = record(2, { incarnation: 2, starts: 1 });
    expect(one.of(2)).toEqual(["10.0.0.2:1"]);
    await one.hear(2, claim(2, { incarnation: 2, starts: 1 }));
    await one.hear(3, claim(2, absurd));
    expect(one.of(2)).toEqual(["10.9.0.2:1", "10.0.0.2:1"]);
    one.members[1] = record(2, { endpointId: key(8) });
    await one.hear(3, claim(2, absurd), claim(2, { endpointId: key(8), starts: 3 }));
    expect(one.of(2)).toEqual(["10.9.0.2:1", "10.0.0.2:1"]);
    expect(one.refused).toEqual([]);
  });

  it("believes nothing about itself, about strangers and about the id of another", async () => {
    const one = new Book();
    await one.hear(2, claim(1), claim(7), claim(3, { endpointId: key(2) }));
    one.book.hint([
      { endpointId: key(7), addresses: ["6.6.6.6:1"] },
      { endpointId: key(1), addresses: ["6.6.6.6:1"] },
    ]);
    expect(one.book.version.value).toBe(0);
    expect(one.book.claimsFor(3)).toEqual([claim(1)]);
  });

  it("keeps the newest few hints and forgets those of a removed member", () => {
    const { book, members } = new Book();
    const of2 = () =>
      book.complete({ nodeId: 2, endpointId: key(2), addresses: ["10.0.0.2:1"], start: { incarnation: 1, starts: 3 } });
    for (let port = 1; port <= 9; port++) book.hint([{ endpointId: key(2), addresses: [`10.5.0.2:${port}`] }]);
    expect(of2().addresses).toEqual(["10.5.0.2:9", "10.5.0.2:8", "10.5.0.2:7", "10.5.0.2:6", "10.0.0.2:1"]);
    members.splice(1, 1);
    book.hint([{ endpointId: key(3), addresses: ["10.5.0.3:1"] }]);
    expect(of2().addresses).toEqual(["10.0.0.2:1"]);
  });
});
