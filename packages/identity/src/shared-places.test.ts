import { describe, expect, it } from "@jest/globals";
import { SharedPlaces, shareOfAddress } from "./shared-places.ts";

/** Places for texts such as `a1`, whose first letter is the address. */
function placesFor(placesMax: number, spareBusy = false) {
  const evicted: string[] = [];
  const places = new SharedPlaces<string>({ placesMax, spareBusy, evict: (holder) => void evicted.push(holder) });
  const take = (...holders: string[]) => holders.map((holder) => places.take(holder, holder[0] ?? "")).every(Boolean);
  return { places, evicted, take };
}

describe("SharedPlaces", () => {
  it("takes the place of the oldest of the address that holds most", () => {
    const { places, evicted, take } = placesFor(4);
    take("b1", "a1", "a2", "a3", "c1", "a4");
    expect(evicted).toEqual(["a1", "a2"]);
    expect([...places.holders()]).toEqual(["b1", "a3", "c1", "a4"]);
  });

  it("counts the newcomer to its own address, and takes the oldest of addresses that hold as many", () => {
    const { places, evicted, take } = placesFor(4);
    take("a1", "a2", "b1", "b2", "b3", "c1", "d1");
    expect(evicted).toEqual(["b1", "a1", "b2"]);
    places.heard("a2");
    take("e1");
    expect(evicted.at(-1)).toBe("b3");
  });

  it("takes the one that is silent for longest, and busy ones only where all of the address are", () => {
    const { places, evicted, take } = placesFor(3);
    take("a1", "a2", "a3");
    places.heard("a1");
    places.heard("a2", true);
    take("a4", "a5", "a6");
    expect(evicted).toEqual(["a3", "a1", "a4"]);
    for (const holder of ["a5", "a6"]) places.heard(holder, true);
    take("a7");
    expect(evicted.at(-1)).toBe("a2");
  });

  it("refuses a newcomer where all are busy and spared", () => {
    const { places, evicted, take } = placesFor(2, true);
    take("a1", "b1");
    for (const holder of ["a1", "b1"]) places.heard(holder, true);
    expect(take("c1")).toBe(false);
    expect(places.has("c1")).toBe(false);
    places.heard("b1");
    expect(take("c1")).toBe(true);
    expect(evicted).toEqual(["b1"]);
  });

  it("has room again when somebody leaves", () => {
    const { places, evicted, take } = placesFor(1);
    take("a1");
    expect([places.leave("a1"), places.leave("a1"), places.size]).toEqual([true, false, 0]);
    take("b1");
    expect(evicted).toEqual([]);
  });
});

describe("shareOfAddress", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:0:1::7", "2001:db8:0:1::/64"],
    ["2001:db8:0:1:a:b:c:d", "2001:db8:0:1::/64"],
    ["2001:0DB8::0001:a:b:c:d", "2001:db8:0:1::/64"],
    ["2001:db8::7", "2001:db8:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["64:ff9b::192.0.2.7", "64:ff9b:0:0::/64"],
    ["https://relay.example.org/", "https://relay.example.org/"],
    [undefined, "unknown"],
  ])("of %s is %s", (address, share) => {
    expect(shareOfAddress(address)).toBe(share);
  });
});
