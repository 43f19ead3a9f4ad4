import { mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "@blixard/common";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { adminTokenFile, readOrMakeToken, removeLocalToken, writeLocalToken } from "./token-files.ts";

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
  it("is another one at each start, and never written through a link", async () => {
    const victim = join(path, "victim");
    await writeFile(victim, "mine");
    await symlink(victim, join(path, "local.token"));
    const first = await writeLocalToken({ path }, seededRandom(1));
    expect(await writeLocalToken({ path }, seededRandom(2))).not.toBe(first);
    expect(await mode("local.token")).toBe(0o600);
    expect(await readFile(victim, "utf8")).toBe("mine");
    await removeLocalToken({ path });
    await expect(stat(join(path, "local.token"))).rejects.toMatchObject({ code: "ENOENT" });
  });
});
