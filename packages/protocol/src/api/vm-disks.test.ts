import { describe, expect, it } from "@jest/globals";
import { limits } from "../limits.ts";
import { driverRefusal } from "./driver.ts";
import { disksOf, disksRefusal, hasOwnData } from "./vm-disks.ts";
import { vmSpecSchema } from "./vm-spec.ts";

const parse = (disks: unknown) => vmSpecSchema.safeParse({ memoryMiB: 64, image: "demo", disks });
const pathsOf = (disks: unknown) => parse(disks).error?.issues.map(({ path }) => path.join("."));

describe("the disks of a specification", () => {
  it("have a name and a size; the root takes that of its image", () => {
    expect(parse([{ name: "root" }, { name: "data", sizeGiB: 1, ephemeral: true }]).success).toBe(true);
    expect(parse([{ name: "data", sizeGiB: limits.vmDiskGiBMax }]).success).toBe(true);
    expect(parse([]).success).toBe(true);
  });

  it.each([
    ["no size", [{ name: "data" }], "disks.0.sizeGiB"],
    ["no room", [{ name: "data", sizeGiB: 0 }], "disks.0.sizeGiB"],
    ["less than no room", [{ name: "data", sizeGiB: -1 }], "disks.0.sizeGiB"],
    ["half a GiB", [{ name: "data", sizeGiB: 0.5 }], "disks.0.sizeGiB"],
    ["too much", [{ name: "root", sizeGiB: limits.vmDiskGiBMax + 1 }], "disks.0.sizeGiB"],
    ["a number without end", [{ name: "root", sizeGiB: Number.POSITIVE_INFINITY }], "disks.0.sizeGiB"],
    [
      "two of a name",
      [
        { name: "a", sizeGiB: 1 },
        { name: "a", sizeGiB: 2 },
      ],
      "disks",
    ],
    ["too many", Array.from({ length: 17 }, (_, at) => ({ name: `d${at}`, sizeGiB: 1 })), "disks"],
    ["an unknown field", [{ name: "a", sizeGiB: 1, file: "/etc/passwd" }], "disks.0"],
    ...["a,b", "a=b", "../a", "a\0", "a\nb", "\u0430", "A", "-a", "a".repeat(21), "x".repeat(300), ""].map(
      (name) => [`the name ${JSON.stringify(name)}`, [{ name, sizeGiB: 1 }], "disks.0.name"] as const,
    ),
  ])("with %s are refused, and the field is named", (_, disks, path) => {
    expect(pathsOf(disks)).toContain(path);
  });
});

const kernel = { format: "linux", blobs: [{ role: "kernel" }] } as const;
const both = { format: "linux", blobs: [{ role: "kernel" }, { role: "disk" }] } as const;
const disk = { format: "disk", blobs: [{ role: "disk" }] } as const;

describe("own data", () => {
  it.each([
    ["nothing of its own", [], kernel, false],
    ["the disk of its image", [], disk, true],
    ["the disk beside its kernel", [], both, true],
    ["an ephemeral root", [{ name: "root", ephemeral: true }], disk, false],
    [
      "an ephemeral root and a disk that is kept",
      [
        { name: "root", ephemeral: true },
        { name: "a", sizeGiB: 1 },
      ],
      disk,
      true,
    ],
    ["a disk beside a kernel", [{ name: "a", sizeGiB: 1 }], kernel, true],
    ["an ephemeral disk beside a kernel", [{ name: "a", sizeGiB: 1, ephemeral: true }], kernel, false],
  ])("%s", (_, disks, image, own) => {
    expect(hasOwnData({ disks }, image)).toBe(own);
  });

  it("is on the disks in the order of the guest, the root first", () => {
    const data = { name: "data", sizeGiB: 1 };
    expect(disksOf({ disks: [data, { name: "root", sizeGiB: 2 }] }, disk).map(({ name }) => name)).toEqual([
      "root",
      "data",
    ]);
    expect(disksOf({}, disk)).toEqual([{ name: "root" }]);
    expect(disksOf({ disks: [data] }, kernel)).toEqual([data]);
  });
});

describe("what cannot be given", () => {
  it("is a root without a disk in the image", () => {
    expect(disksRefusal({ disks: [{ name: "a", sizeGiB: 1 }, { name: "root" }] }, kernel)).toContain(
      "spec.disks.1.name",
    );
    expect(disksRefusal({ disks: [{ name: "root" }] }, both)).toBeUndefined();
  });

  it("is a disk of a driver without disks", () => {
    const driver = { imageFormats: ["linux" as const, "disk" as const], vcpusMax: 1, memoryMiBMax: 64 };
    const spec = { vcpus: 1, memoryMiB: 64 };
    const refusal = (disks: boolean, demand: object) =>
      driverRefusal("embedded", { ...driver, disks }, { spec, image: kernel, ...demand });
    expect(refusal(false, { spec: { ...spec, disks: [{ name: "a", sizeGiB: 1 }] } })).toBe(
      "driver embedded gives no disks to VMs",
    );
    expect(refusal(false, { image: both })).toBe("driver embedded gives no disks to VMs");
    expect(refusal(true, { image: both })).toBeUndefined();
    expect(refusal(false, { image: disk })).toBeUndefined();
  });
});
