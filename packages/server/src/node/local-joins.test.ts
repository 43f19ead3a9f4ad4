import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@blixard/common";
import { systemRandom } from "@blixard/common/system";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { LocalJoinsFile, proveLocally } from "./local-joins.ts";
import { readRuntimeSecret, writeRuntimeSecret } from "./runtime-dir.ts";

const [asked, holder, other] = ["a".repeat(64), "b".repeat(64), "c".repeat(64)] as const;
const to = { endpointId: asked, addresses: ["127.0.0.1:7001"] };
const asRoot = process.getuid?.() === 0 ? it : it.skip;

let home: string;
let env: { readonly XDG_RUNTIME_DIR: string };
let joins: LocalJoinsFile;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "blixard-runtime-"));
  env = { XDG_RUNTIME_DIR: home };
  joins = new LocalJoinsFile({ random: systemRandom, logger: silentLogger, env, endpointId: asked });
});
afterEach(async () => {
  await joins.close();
  await rm(home, { recursive: true, force: true });
});

const files = () => readdir(join(home, "blixard"));
const check = (endpointId: string, proof: string | undefined) => joins.check({ endpointId, proof });

/** Waits until a machine that reads the file shows something else than `before`. */
async function nextProof(before: string | undefined): Promise<string | undefined> {
  for (;;) {
    const proof = await proveLocally(env, to, holder);
    if (proof !== before) return proof;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("LocalJoinsFile", () => {
  it("takes the proof of a machine that read the secret once, and under its own key", async () => {
    await joins.open("127.0.0.1:7001", "cluster");
    const proof = await proveLocally(env, to, holder);
    expect(check(other, proof)).toBe("unproved");
    expect(check(holder, proof)).toBe("proved");
    expect(check(holder, proof)).toBe("again");
    // Two machines that read the same secret: the second one reads the next.
    const second = await nextProof(proof);
    expect(check(holder, second)).toBe("proved");
    expect(check(other, second)).toBe("unproved");
  });

  it("binds the proof to the node, its port and the cluster", async () => {
    await joins.open("127.0.0.1:7001", "cluster");
    const proof = await proveLocally(env, to, holder);
    expect(await proveLocally(env, { ...to, addresses: ["127.0.0.1:7002"] }, holder)).toBeUndefined();
    expect(await proveLocally(env, { ...to, endpointId: other }, holder)).toBeUndefined();
    const [name = ""] = await files();
    const path = join(home, "blixard", name);
    const file = JSON.parse(await readFile(path, "utf8")) as object;
    await writeFile(path, JSON.stringify({ ...file, clusterId: "another" }), { mode: 0o600 });
    const wrong = await proveLocally(env, to, holder);
    expect(wrong).not.toBe(proof);
    expect(check(holder, wrong)).toBe("unproved");
  });

  it("asks a machine to come again before the first secret is there, and proves nothing after the last", async () => {
    expect(check(holder, undefined)).toBe("again");
    await joins.open("127.0.0.1:7001", "cluster");
    expect(check(holder, undefined)).toBe("unproved");
    const proof = await proveLocally(env, to, holder);
    await joins.close();
    expect(check(holder, proof)).toBe("unproved");
    expect(await files()).toEqual([]);
  });
});

describe("the runtime directory", () => {
  it("is not used where others can, nor through a link, and no file is read that others could have written", async () => {
    await chmod(home, 0o777);
    expect(await writeRuntimeSecret(env, "f-open", "x")).not.toContain(home);
    await rm(await writeRuntimeSecret(env, "f-open", "x"));
    await chmod(home, 0o700);
    const path = await writeRuntimeSecret(env, "f", "x");
    expect(path).toBe(join(home, "blixard", "f"));
    expect(await readRuntimeSecret(env, "f")).toBe("x");
    await chmod(path, 0o644);
    expect(await readRuntimeSecret(env, "f")).toBeUndefined();
    await writeFile(join(home, "planted"), "y", { mode: 0o600 });
    await symlink(join(home, "planted"), join(home, "blixard", "g"));
    expect(await readRuntimeSecret(env, "g")).toBeUndefined();
    await chmod(path, 0o600);
    await chmod(join(home, "blixard"), 0o755);
    expect(await readRuntimeSecret(env, "f")).toBeUndefined();
  });

  asRoot("is not used when another user has made it", async () => {
    await mkdir(join(home, "blixard"), { mode: 0o700 });
    await writeFile(join(home, "blixard", "f"), "planted", { mode: 0o600 });
    await chown(join(home, "blixard"), 65_534, 65_534);
    expect(await readRuntimeSecret(env, "f")).toBeUndefined();
    const path = await writeRuntimeSecret(env, "f", "x");
    expect(path).not.toContain(home);
    await rm(path);
  });
});
