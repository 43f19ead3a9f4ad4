import { execFileSync } from "node:child_process";
import { stat, writeFile } from "node:fs/promises";
import { fromUtf8, toUtf8 } from "@blixard/common";
import { afterAll, describe, expect, it } from "@jest/globals";
import { findProgram } from "../confinement/launcher.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { isoImage, isoSectorBytes } from "./iso9660.ts";
import { seedImage, writeSeed } from "./seed.ts";

afterAll(removeTemporaryDirectories);

const vmId = "00000000-0000-4000-8000-000000000001";
const facts = { vmId, name: "web", cloudInit: {}, userData: undefined };

/** What a reader finds that knows ECMA-119, and Joliet when it is asked for. */
function read(image: Uint8Array, joliet: boolean): Record<string, Uint8Array> {
  const view = new DataView(image.buffer, image.byteOffset);
  const descriptor = (joliet ? 17 : 16) * isoSectorBytes;
  expect([image[descriptor], toUtf8(image.subarray(descriptor + 1, descriptor + 6))]).toEqual([
    joliet ? 2 : 1,
    "CD001",
  ]);
  const rootAt = view.getUint32(descriptor + 156 + 2, true) * isoSectorBytes;
  const files: Record<string, Uint8Array> = {};
  for (let at = rootAt; (image[at] ?? 0) > 0; at += image[at] ?? 0) {
    expect(view.getUint32(at + 2, true)).toBe(view.getUint32(at + 6));
    const bytes = image.subarray(at + 33, at + 33 + (image[at + 32] ?? 0));
    const name = joliet ? toUtf8(bytes.filter((_, index) => index % 2 === 1)) : toUtf8(bytes);
    const from = view.getUint32(at + 2, true) * isoSectorBytes;
    if (((image[at + 25] ?? 0) & 2) === 0) files[name] = image.subarray(from, from + view.getUint32(at + 10, true));
  }
  return files;
}

describe("isoImage", () => {
  it("holds each file under its name for every reader, byte for byte", () => {
    const contents = { "user-data": new Uint8Array(5_000).map((_, index) => index), "meta-data": new Uint8Array(0) };
    const image = isoImage(
      "CIDATA",
      Object.entries(contents).map(([name, content]) => ({ name, content })),
    );
    expect(image.length % isoSectorBytes).toBe(0);
    const shown = { "META-DATA.;1": contents["meta-data"], "USER-DATA.;1": contents["user-data"] };
    expect(read(image, false)).toEqual(shown);
    expect(read(image, true)).toEqual({ "meta-data;1": contents["meta-data"], "user-data;1": contents["user-data"] });
  });

  it.each(["../etc", "a/b", "A", "", "a;1", "x".repeat(32)])("takes no name such as %j", (name) => {
    expect(() => isoImage("CIDATA", [{ name, content: new Uint8Array() }])).toThrow("plain name");
  });
});

describe("seedImage", () => {
  it("says what the VM is, and its user data as they were given", () => {
    const userData = fromUtf8("#cloud-config\nx: '</script>\u0000\u0007\u001b[2J \"' \r\n");
    const sshKeys = ["ssh-ed25519 AAAA me"];
    const files = read(seedImage({ ...facts, cloudInit: { sshKeys, hostname: "other" }, userData }), true);
    expect(files["user-data;1"]).toEqual(userData);
    expect(JSON.parse(toUtf8(files["meta-data;1"] ?? new Uint8Array()))).toEqual({
      "instance-id": vmId,
      "local-hostname": "other",
      "public-keys": sshKeys,
    });
    const plain = read(seedImage(facts), true);
    expect(JSON.parse(toUtf8(plain["meta-data;1"] ?? new Uint8Array()))).toMatchObject({ "local-hostname": "web" });
    expect(toUtf8(plain["user-data;1"] ?? new Uint8Array())).toBe("#cloud-config\n{}\n");
  });

  it("is a new file for nobody else", async () => {
    const directory = await temporaryDirectory();
    await writeFile(`${directory}/seed.iso`, "of before", { mode: 0o666 });
    const path = await writeSeed(directory, facts);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });
});

const blkid = { name: "blkid", present: findProgram("blkid") !== undefined, install: "apt-get install -y util-linux" };
describeWith(describe, blkid)("a seed", () => {
  it("has the label by which cloud-init finds it", async () => {
    const path = await writeSeed(await temporaryDirectory(), facts);
    expect(execFileSync("blkid", ["-o", "export", "-p", path], { encoding: "utf8" })).toMatch(
      /^LABEL=CIDATA$[\s\S]*^TYPE=iso9660$/m,
    );
  });
});
