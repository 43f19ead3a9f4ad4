import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "@jest/globals";
import { isoImage } from "../cloud-init/iso9660.ts";
import { nanoGuestElf } from "../guest/nano-guest.ts";
import { qcow2File } from "../testing/hostile-images.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { inspectImage } from "./inspect-image.ts";

afterAll(removeTemporaryDirectories);

const directory = await temporaryDirectory();

async function inspect(bytes: Uint8Array, format: "multiboot" | "linux" | "disk" | "iso") {
  const path = join(directory, "image");
  await writeFile(path, bytes);
  return await inspectImage(path, format);
}

describe("inspectImage", () => {
  it("takes a multiboot kernel and refuses anything else as one", async () => {
    await expect(inspect(nanoGuestElf(), "multiboot")).resolves.toEqual({ diskFormat: "raw" });
    await expect(inspect(new Uint8Array(9000), "multiboot")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(inspect(nanoGuestElf(), "linux")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(inspect(new Uint8Array(3), "multiboot")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("takes a disc that is whole, whatever it begins with, and refuses anything else as one", async () => {
    const disc = isoImage("DISC", [{ name: "a", content: new Uint8Array(9_000) }]);
    await expect(inspect(disc, "iso")).resolves.toEqual({ diskFormat: "raw" });
    disc.set([0x55, 0xaa], 510);
    await expect(inspect(disc, "iso")).resolves.toEqual({ diskFormat: "raw" });
    const refused = (why: string) => ({ code: "INVALID_ARGUMENT", message: expect.stringContaining(why) });
    await expect(inspect(disc.slice(0, -2_048), "iso")).rejects.toMatchObject(refused("cut off"));
    await expect(inspect(disc.slice(0, 100), "iso")).rejects.toMatchObject(refused("no ISO 9660"));
    await expect(inspect(new Uint8Array(100_000), "iso")).rejects.toMatchObject(refused("no ISO 9660"));
    await expect(inspect(qcow2File(), "iso")).rejects.toMatchObject(refused("qcow"));
    const supplementary = disc.slice();
    supplementary[16 * 2_048] = 2;
    await expect(inspect(supplementary, "iso")).rejects.toMatchObject(refused("no primary volume"));
  });

  it("says the format of a disk explicitly", async () => {
    await expect(inspect(new Uint8Array(4096), "disk")).resolves.toEqual({ diskFormat: "raw" });
    await expect(inspect(qcow2File(), "disk")).resolves.toEqual({ diskFormat: "qcow2" });
  });

  it.each([
    ["a backing file", (view: DataView) => view.setBigUint64(8, 512n)],
    ["a data file", (view: DataView) => view.setBigUint64(72, 4n)],
    ["an unknown version", (view: DataView) => view.setUint32(4, 4)],
  ])("refuses a qcow2 with %s", async (_, change) => {
    await expect(inspect(qcow2File(change), "disk")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("refuses formats that name other files", async () => {
    const vmdk = new TextEncoder().encode("# Disk DescriptorFile\nversion=1\n".padEnd(600));
    await expect(inspect(vmdk, "disk")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
