import { fromUtf8, toUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { endpointIdOfSeed } from "./ed25519.ts";
import { createSealing, type Sealed } from "./secret-sealing.ts";

const seedOf = (byte: number) => new Uint8Array(32).fill(byte);
const [one, two, three] = [1, 2, 3].map((byte) => ({
  endpointId: endpointIdOfSeed(seedOf(byte)),
  sealing: createSealing(seedOf(byte)),
}));
if (one === undefined || two === undefined || three === undefined) throw new Error("three nodes");

const secret = "#cloud-config\npassword: hunter2 </script>\u0000\u0007\n";
const textOf = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : toUtf8(bytes));

describe("a sealed secret", () => {
  const sealed = one.sealing.seal(fromUtf8(secret), "vm 1", [two.endpointId]);

  it("is opened by the holders of the keys alone, whoever sealed it", () => {
    expect(textOf(two.sealing.open(sealed, "vm 1"))).toBe(secret);
    expect(one.sealing.open(sealed, "vm 1")).toBeUndefined();
    expect(three.sealing.open(sealed, "vm 1")).toBeUndefined();
  });

  it("is of no use in another place", () => {
    expect(two.sealing.open(sealed, "vm 2")).toBeUndefined();
  });

  it("is not opened under the name of another holder", () => {
    const renamed: Sealed = {
      ...sealed,
      keys: sealed.keys.map(({ wrapped }) => ({ endpointId: three.endpointId, wrapped })),
    };
    expect(three.sealing.open(renamed, "vm 1")).toBeUndefined();
  });

  it("that was changed anywhere is not opened, and ends nothing", () => {
    for (let at = 0; at < sealed.data.length; at += 7) {
      const other = sealed.data[at] === "A" ? "B" : "A";
      const data = `${sealed.data.slice(0, at)}${other}${sealed.data.slice(at + 1)}`;
      expect(two.sealing.open({ ...sealed, data }, "vm 1")).toBeUndefined();
    }
    expect(two.sealing.open({ ...sealed, data: "" }, "vm 1")).toBeUndefined();
    // A point of small order, with which everybody shares the same secret.
    expect(two.sealing.open({ ...sealed, ephemeralKey: "00".repeat(32) }, "vm 1")).toBeUndefined();
  });

  it("is sealed anew by who can open it, and by nobody else", () => {
    expect(three.sealing.reseal(sealed, "vm 1", [three.endpointId])).toBeUndefined();
    const again = two.sealing.reseal(sealed, "vm 1", [one.endpointId, three.endpointId]);
    if (again === undefined) throw new Error("it could be opened");
    expect(textOf(three.sealing.open(again, "vm 1"))).toBe(secret);
    expect(two.sealing.open(again, "vm 1")).toBeUndefined();
    expect(JSON.stringify([sealed, again])).not.toContain("hunter2");
  });
});
