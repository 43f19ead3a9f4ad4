import { chmod, chown, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "@blixard/common";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { adminTokenFile, localToken, readOrMakeToken } from "./token-files.ts";

let path: string;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "blixard-tokens-"));
});
afterEach(() => rm(path, { recursive: true, force: true }));

const mode = async (file: string) => (await stat(join(path, file))).mode & 0o777;

describe("the administrator's token of a node", () => {
  it("is made once, readable by this user only", async () => {
    const store = adminTokenFile({ path });
    expect(await store.read()).toBeUndefined();
    const token = await readOrMakeToken(store, seededRandom(1));
    expect(token).toMatch(/^[\w-]{43}$/);
    expect(await mode("admin.token")).toBe(0o600);
    expect(await readOrMakeToken(store, seededRandom(2))).toBe(token);
    expect(await readFile(join(path, "admin.token"), "utf8")).toBe(`${token}\n`);
    await store.remove();
    expect(await store.read()).toBeUndefined();
  });
});

describe("the token that shows how a node is", () => {
  it("stays over restarts", async () => {
    const first = await localToken({ path }, seededRandom(1));
    expect(first).toMatch(/^[\w-]{43}$/);
    expect(await mode("local.token")).toBe(0o600);
    expect(await localToken({ path }, seededRandom(2))).toBe(first);
  });
});

describe.each([
  ["admin.token", () => readOrMakeToken(adminTokenFile({ path }), seededRandom(1))],
  ["local.token", () => localToken({ path }, seededRandom(1))],
])("a planted %s", (name, read) => {
  it("is refused through a link, and what the link leads to stays", async () => {
    const victim = join(path, "victim");
    await writeFile(victim, "mine", { mode: 0o600 });
    await symlink(victim, join(path, name));
    await expect(read()).rejects.toMatchObject({ code: "DATA_DIR_INVALID", details: { fault: "link" } });
    expect(await readFile(victim, "utf8")).toBe("mine");
  });

  it("is refused where others may use it, and stays", async () => {
    if (process.platform === "win32") return;
    await writeFile(join(path, name), "planted", { mode: 0o600 });
    expect(await read()).toBe("planted");
    await chmod(join(path, name), 0o640);
    const hint = expect.stringContaining(`chmod 600 ${join(path, name)}`);
    await expect(read()).rejects.toMatchObject({ code: "DATA_DIR_INVALID", details: { fault: "mode" }, hint });
    expect(await readFile(join(path, name), "utf8")).toBe("planted");
  });

  it("is refused when it belongs to another user", async () => {
    if (process.geteuid?.() !== 0) return;
    await writeFile(join(path, name), "planted", { mode: 0o600 });
    await chown(join(path, name), 65_534, 65_534);
    await expect(read()).rejects.toMatchObject({ code: "DATA_DIR_INVALID", details: { fault: "owner" } });
  });
});
