import type { NodeRecord } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { AddressBook } from "./address-book.ts";

const key = (id: number) => String(id).repeat(64).slice(0, 64);

function record(id: number, address: string, starts: number): NodeRecord {
  return {
    id,
    name: `n${id}`,
    endpointId: key(id),
    addresses: [address],
    role: "voter",
    incarnation: 1,
    capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
    version: "0.0.0",
    featureLevel: 1,
    joinedUnixMs: 0,
    cordoned: false,
    starts,
  };
}

describe("AddressBook", () => {
  const records = [record(1, "10.0.0.1:1", 3), record(2, "10.0.0.2:1", 3), record(3, "10.0.0.3:1", 3)];
  const own = { nodeId: 1, endpointId: key(1), addresses: ["10.9.0.1:1"], starts: 4 };
  const bookOf = (members: () => Iterable<NodeRecord>) =>
    new AddressBook({ ...own, addresses: () => own.addresses }, members);
  const claim = (id: number, address: string, starts: number) => ({
    nodeId: id,
    endpointId: key(id),
    addresses: [address],
    starts,
  });
  const addressesOf = (book: AddressBook, id: number) =>
    book.complete({ nodeId: id, endpointId: key(id), addresses: [`10.0.0.${id}:1`] }, 3).addresses;

  it("puts the claim of a later start before the replicated addresses, and passes it on", () => {
    const book = bookOf(() => records);
    book.merge([claim(2, "10.9.0.2:1", 4)]);
    expect(addressesOf(book, 2)).toEqual(["10.9.0.2:1", "10.0.0.2:1"]);
    expect(book.claims()).toEqual([own, claim(2, "10.9.0.2:1", 4), claim(3, "10.0.0.3:1", 3)]);
    expect(book.version.value).toBe(1);
  });

  it("does not go back to the claim of an earlier start", () => {
    const book = bookOf(() => records);
    book.merge([claim(2, "10.9.0.2:1", 5)]);
    book.merge([claim(2, "10.8.0.2:1", 4), claim(2, "10.7.0.2:1", 5)]);
    expect(addressesOf(book, 2)).toEqual(["10.9.0.2:1", "10.0.0.2:1"]);
  });

  it("believes nothing about itself, about strangers and about the id of another", () => {
    const book = bookOf(() => records);
    book.merge([claim(1, "6.6.6.6:1", 99), claim(7, "6.6.6.6:1", 99), { ...claim(2, "6.6.6.6:1", 99), nodeId: 3 }]);
    book.hint([
      { endpointId: key(7), addresses: ["6.6.6.6:1"] },
      { endpointId: key(1), addresses: ["6.6.6.6:1"] },
    ]);
    expect(book.version.value).toBe(0);
    expect(book.claims()).toEqual([own, claim(2, "10.0.0.2:1", 3), claim(3, "10.0.0.3:1", 3)]);
  });

  it("keeps the newest few hints and forgets those of a removed member", () => {
    const members = [...records];
    const book = bookOf(() => members);
    for (let port = 1; port <= 9; port++) book.hint([{ endpointId: key(2), addresses: [`10.5.0.2:${port}`] }]);
    expect(addressesOf(book, 2)).toEqual(["10.5.0.2:9", "10.5.0.2:8", "10.5.0.2:7", "10.5.0.2:6", "10.0.0.2:1"]);
    members.splice(1, 1);
    book.hint([{ endpointId: key(3), addresses: ["10.5.0.3:1"] }]);
    expect(addressesOf(book, 2)).toEqual(["10.0.0.2:1"]);
  });
});
