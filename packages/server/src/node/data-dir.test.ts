import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { checkEndpointId, openDataDir, writeNodeFile } from "./data-dir.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-data-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const open = (id: number | undefined, dataDir?: string) => openDataDir({ id, dataDir }, { XDG_DATA_HOME: root });
const mode = async (path: string) => (await stat(path)).mode & 0o777;
const endpointId = "a".repeat(64);

describe("openDataDir", () => {
  it("makes a private directory in the data home of the user", async () => {
    const dataDir = await open(3);
    expect(dataDir).toEqual({ path: join(root, "blixard", "node-3"), nodeId: 3, nodeFile: undefined });
    expect(await mode(dataDir.path)).toBe(0o700);
  });

  it("narrows a directory that others could read", async () => {
    const path = join(root, "wide");
    await mkdir(path);
    await chmod(path, 0o755);
    await open(1, path);
    expect(await mode(path)).toBe(0o700);
  });

  it("knows whose directory it is, refuses another node, and needs no id the second time", async () => {
    const path = join(root, "n");
    const dataDir = await open(1, path);
    await writeNodeFile(dataDir, { formatVersion: 1, nodeId: 1, clusterId: "c", endpointId, createdUnixMs: 1 });
    expect((await open(undefined, path)).nodeFile?.clusterId).toBe("c");
    await expect(open(2, path)).rejects.toMatchObject({
      code: "DATA_DIR_FOREIGN",
      hint: expect.stringContaining("--id 1"),
    });
    const again = await open(1, path);
    expect(() => checkEndpointId(again, endpointId)).not.toThrow();
    expect(() => checkEndpointId(again, "b".repeat(64))).toThrow(expect.objectContaining({ code: "DATA_DIR_FOREIGN" }));
  });

  it("says what is missing or broken", async () => {
    await expect(open(undefined)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(open(undefined, join(root, "new"))).rejects.toThrow(/--id is missing/);
    await writeFile(join(root, "node.json"), "{");
    await expect(open(1, root)).rejects.toMatchObject({ code: "DATA_DIR_INVALID" });
  });

  it("tells a disk that fails from a file that is not for this user", async () => {
    const path = join(root, "node.json");
    await mkdir(path);
    await expect(open(1, root)).rejects.toMatchObject({ code: "DATA_DIR_INVALID", details: { errno: "EISDIR" } });
    await rm(path, { recursive: true });
    // Linux answers a read at the beginning of this file with EIO.
    if (process.platform !== "linux") return;
    await symlink("/proc/self/mem", path);
    await expect(open(1, root)).rejects.toMatchObject({ code: "STORAGE_FAILED", details: { errno: "EIO" } });
  });
});
