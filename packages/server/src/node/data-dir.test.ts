import { chmod, chown, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findOwnNodes, readLocalNode } from "@blixard/client";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { checkEndpointId, openDataDir, writeNodeFile, writeRuntimeFile } from "./data-dir.ts";
import { readMembers } from "./members-file.ts";
import { readRecovery } from "./recovery-file.ts";

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

  it("narrows an empty directory that others could read", async () => {
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

  it("says what the system refuses", async () => {
    const path = join(root, "node.json");
    await mkdir(path);
    await expect(open(1, root)).rejects.toMatchObject({ code: "DATA_DIR_INVALID", details: { errno: "EISDIR" } });
    await rm(path, { recursive: true });
    await writeFile(path, "");
    const below = open(1, join(path, "below"));
    await expect(below).rejects.toMatchObject({ code: "DATA_DIR_INVALID", details: { errno: "ENOTDIR" } });
    await expect(open(1, path)).rejects.toThrow(/is no directory/);
    // Making directories there with mkdir -p of Node.js never ends.
    if (process.platform === "linux") await expect(open(1, "/proc/x")).rejects.toThrow(/takes no directories/);
  });
});

const onUnix = process.platform === "win32" ? describe.skip : describe;
const nobody = 65_534;

onUnix("a data directory that somebody else may have written", () => {
  let path: string;
  beforeEach(async () => {
    path = join(root, "n");
    await mkdir(path, { mode: 0o700 });
    await writeFile(join(root, "elsewhere"), "precious", { mode: 0o600 });
  });

  it("is refused when others can use it, unless it is empty", async () => {
    await writeFile(join(path, "node.key"), "");
    await chmod(path, 0o750);
    const hint = expect.stringContaining(`chmod 700 ${path}`);
    await expect(open(1, path)).rejects.toMatchObject({ code: "DATA_DIR_INVALID", details: { fault: "mode" }, hint });
    expect(await mode(path)).toBe(0o750);
  });

  it("is refused when it belongs to another user, and so is a part of it", async () => {
    if (process.geteuid?.() !== 0) return;
    const foreign = { code: "DATA_DIR_INVALID", details: { fault: "owner" } };
    await writeFile(join(path, "join.json"), "{}");
    await chown(path, nobody, nobody);
    await expect(open(1, path)).rejects.toMatchObject(foreign);
    await chown(path, 0, 0);
    await chown(join(path, "join.json"), nobody, nobody);
    await expect(readMembers(path)).rejects.toMatchObject(foreign);
    await mkdir(join(path, "log"));
    await writeFile(join(path, "log", "CURRENT"), "");
    await chown(join(path, "log", "CURRENT"), nobody, nobody);
    await expect(open(1, path)).rejects.toMatchObject(foreign);
  });

  it.each(["STORAGE", "vote", "seal", "log", "state", "snapshots", "vms", "node.json"])(
    "is refused with a link for %s, and with one below log/",
    async (name) => {
      const link = { code: "DATA_DIR_INVALID", details: { fault: "link" } };
      await symlink(join(root, "elsewhere"), join(path, name));
      await expect(open(1, path)).rejects.toMatchObject(link);
      await rm(join(path, name));
      await mkdir(join(path, "log"));
      await symlink(join(root, "elsewhere"), join(path, "log", "000001.log"));
      await expect(open(1, path)).rejects.toMatchObject(link);
    },
  );

  it("may itself be a link", async () => {
    await symlink(path, join(root, "link"));
    expect(await open(1, join(root, "link"))).toMatchObject({ path: join(root, "link"), nodeId: 1 });
  });

  it("is not read through a link, and writes through none", async () => {
    const dataDir = await open(1, path);
    for (const name of ["admin.token", "join.json", "recover.json", "runtime.json", "runtime.json.tmp"]) {
      await symlink(join(root, "elsewhere"), join(path, name));
    }
    const link = { details: { fault: "link" } };
    await expect(readMembers(path)).rejects.toMatchObject(link);
    await expect(readRecovery(path)).rejects.toMatchObject(link);
    await expect(readLocalNode(path)).rejects.toMatchObject(link);
    const runtime = {
      ...{ pid: process.pid, nodeId: 1, clusterId: "c", endpointId },
      bind: "127.0.0.1:1",
      http: "off",
    };
    await writeRuntimeFile(dataDir, runtime);
    expect(await readFile(join(root, "elsewhere"), "utf8")).toBe("precious");
    await rm(join(path, "admin.token"));
    expect(await readLocalNode(path)).toMatchObject(runtime);
    await chmod(join(path, "runtime.json"), 0o644);
    const wide = { details: { fault: "mode" } };
    await expect(readLocalNode(path)).rejects.toMatchObject(wide);
    // Whoever looks for any node is told of it as well.
    await mkdir(join(root, "blixard"));
    await rename(path, join(root, "blixard", "node-1"));
    expect(await findOwnNodes({ XDG_DATA_HOME: root })).toMatchObject({ nodes: [], refusal: wide });
  });
});
