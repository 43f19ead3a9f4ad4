import { chmod, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
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
  it("stays over restarts, and is never read or written through a link, nor where others may read it", async () => {
    const victim = join(path, "victim");
    await writeFile(victim, "mine", { mode: 0o600 });
    await symlink(victim, join(path, "local.token"));
    const first = await localToken({ path }, seededRandom(1));
    expect(first).not.toBe("mine");
    expect(await mode("local.token")).toBe(0o600);
    expect(await readFile(victim, "utf8")).toBe("mine");
    expect(await localToken({ path }, seededRandom(2))).toBe(first);
    await chmod(join(path, "local.token"), 0o644);
    expect(await localToken({ path }, seededRandom(3))).not.toBe(first);
    expect(await mode("local.token")).toBe(0o600);
  });
});
