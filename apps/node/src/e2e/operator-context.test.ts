import { spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Watch } from "@blixard/common";
import { ProcessCluster } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { type BinaryRun, runBinary } from "./run-binary.ts";

let cluster: ProcessCluster;
const homes: string[] = [];

beforeAll(async () => {
  cluster = await ProcessCluster.start({
    binary: builtBinary(),
    flags: ["--transport", "iroh", "--http", "off", "--vm-driver", "embedded", "--stop-vms"],
  });
});

afterAll(async () => {
  await cluster?.close();
  for (const home of homes) await rm(home, { recursive: true, force: true });
});

/** Another machine: homes without nodes, tokens or keys. */
async function machine() {
  const home = await mkdtemp(join(tmpdir(), "blixard-home-"));
  homes.push(home);
  const env = { HOME: home, XDG_CONFIG_HOME: join(home, "config"), XDG_DATA_HOME: join(home, "data") };
  const keyPath = (name: string) => join(home, "config", "blixard", "keys", `${name}.key`);
  return {
    home,
    env,
    keyPath,
    run: (args: readonly string[], input?: string) => runBinary(args, { env, input: input ?? "" }),
  };
}

async function ticket(role: "admin" | "operator" | "viewer"): Promise<string> {
  const client = cluster.client();
  try {
    return (await client.tickets.create({ role })).ticket;
  } finally {
    client.close();
  }
}

function expectDenied(outcome: BinaryRun, code: string): void {
  expect(outcome).toMatchObject({ code: 4, stdout: "", stderr: expect.stringContaining(code) });
}

describe("a context made from a ticket, without HTTP", () => {
  it("serves no plain HTTP port", () => {
    for (const node of cluster.nodes) expect(node.ready.http).toBe("off");
  });

  it("calls the cluster as an administrator with a key of its own until that is revoked", async () => {
    const { run, keyPath } = await machine();
    expect(await run(["kv", "get", "k"])).toMatchObject({ code: 6 });
    const text = await ticket("admin");
    expect(await run(["context", "add", "prod", "-"], `${text}\n`)).toMatchObject({ code: 0, stdout: "prod\n" });
    expect((await stat(keyPath("prod"))).mode & 0o777).toBe(0o600);

    expect(await run(["kv", "put", "k", "value"])).toMatchObject({ code: 0 });
    expect(await run(["kv", "get", "k"])).toMatchObject({ code: 0, stdout: "value\n" });
    const created = await run(["vm", "create", "web", "--image", "demo", "--memory", "64M", "-o", "json"]);
    expect(created).toMatchObject({ code: 0 });
    expect(JSON.parse(created.stdout)).toMatchObject({ name: "web", phase: "Running" });
    const list = await run(["vm", "list", "-o", "name"]);
    expect(list).toMatchObject({ code: 0, stdout: "web\n" });
    expect(await run(["status"])).toMatchObject({ code: 0, stdout: expect.stringContaining("3 heard from here") });
    const console = await run(["vm", "console", "web"], "hello\n");
    expect(console).toMatchObject({ code: 0, stdout: expect.stringContaining("hello") });
    expect(await run(["vm", "logs", "web"])).toMatchObject({ code: 0, stdout: expect.stringContaining("hello") });

    const disk = join(homes.at(-1) ?? "", "disk");
    await writeFile(disk, new Uint8Array(600_000).fill(7));
    const image = await run(["image", "import", "seven", "--disk", disk, "--format", "raw", "-o", "json"]);
    expect(image).toMatchObject({ code: 0 });
    expect(JSON.parse(image.stdout)).toMatchObject({ name: "seven", blobs: [{ role: "disk", sizeBytes: 600_000 }] });

    const contexts = JSON.parse((await run(["context", "list", "-o", "json"])).stdout) as { tokenId: string }[];
    expect(contexts).toMatchObject([{ name: "prod", current: true, role: "admin" }]);
    expect(await run(["token", "revoke", contexts[0]?.tokenId ?? ""])).toMatchObject({ code: 0 });
    expectDenied(await run(["kv", "get", "k", "-o", "json"]), "UNKNOWN_PEER");
    // The ticket was used up, and is of no use to another machine either.
    expectDenied(await (await machine()).run(["context", "add", "prod", text]), "TICKET_USED");
  });

  it("lets a viewer read and refuses it every write", async () => {
    const { run } = await machine();
    const file = join(homes.at(-1) ?? "", "ticket");
    await writeFile(file, await ticket("viewer"));
    expect(await run(["context", "add", "look", "--ticket-file", file])).toMatchObject({ code: 0 });
    expect(await run(["kv", "list", "-o", "json"])).toMatchObject({ code: 0 });
    expect(await run(["nodes", "list", "--context", "look"])).toMatchObject({ code: 0 });
    expectDenied(await run(["kv", "put", "k", "other", "-o", "json"]), "PERMISSION_DENIED");
    expectDenied(await run(["ticket", "create", "--role", "voter", "-o", "json"]), "PERMISSION_DENIED");
    expectDenied(await run(["vm", "console", "web", "-o", "json"], "typed\n"), "PERMISSION_DENIED");
    expectDenied(await run(["vm", "create", "x", "--image", "demo", "-o", "json"]), "PERMISSION_DENIED");
  });

  it("watches keys as they change, until the right to do so is taken away", async () => {
    const { run, env } = await machine();
    expect(await run(["context", "add", "watch", "-"], await ticket("admin"))).toMatchObject({ code: 0 });
    expect(await run(["kv", "put", "watched/a", "1"])).toMatchObject({ code: 0 });
    const watch = spawn(process.execPath, [builtBinary(), "kv", "watch", "watched/"], {
      env: { ...process.env, NODE_OPTIONS: "", NO_COLOR: "1", ...env },
    });
    const output = new Watch({ stdout: "", stderr: "" });
    watch.stdout.on("data", (data) => output.update((now) => ({ ...now, stdout: now.stdout + data })));
    watch.stderr.on("data", (data) => output.update((now) => ({ ...now, stderr: now.stderr + data })));
    const ended = new Promise<number | null>((resolve) => watch.once("close", resolve));
    const printed = (text: string) =>
      output.until(({ stdout }) => stdout === text, { signal: AbortSignal.timeout(60_000) });
    try {
      await printed("put watched/a 1\n");
      expect(await run(["kv", "put", "watched/b", "2"])).toMatchObject({ code: 0 });
      await printed("put watched/a 1\nput watched/b 2\n");
      expect(await run(["kv", "delete", "watched/a"])).toMatchObject({ code: 0 });
      await printed("put watched/a 1\nput watched/b 2\ndelete watched/a\n");
      const [own] = JSON.parse((await run(["context", "list", "-o", "json"])).stdout) as { tokenId: string }[];
      expect(await run(["token", "revoke", own?.tokenId ?? ""])).toMatchObject({ code: 0 });
      expect(await ended).toBe(4);
      expect(output.value.stderr).toContain("has no rights here any more");
    } finally {
      watch.kill("SIGKILL");
    }
  });

  it("keeps contexts apart, and refuses a key that others can read", async () => {
    const { run, keyPath, home } = await machine();
    for (const name of ["one", "two"]) {
      expect(await run(["context", "add", name, "-"], await ticket("viewer"))).toMatchObject({ code: 0 });
    }
    expect(await run(["context", "add", "two", "-"], await ticket("viewer"))).toMatchObject({ code: 5 });
    expect(await readFile(keyPath("one"), "utf8")).not.toBe(await readFile(keyPath("two"), "utf8"));
    expect(await run(["context", "use", "three"])).toMatchObject({ code: 3 });
    expect(await run(["context", "use", "one"])).toMatchObject({ code: 0 });
    await chmod(keyPath("one"), 0o644);
    expect(await run(["kv", "list"])).toMatchObject({ code: 64, stderr: expect.stringContaining("chmod 600") });
    expect(await run(["kv", "list", "--context", "two"])).toMatchObject({ code: 0 });
    expect(await run(["context", "remove", "one"])).toMatchObject({ code: 0 });
    expect(await readdir(join(home, "config", "blixard", "keys"))).toEqual(["two.key"]);
  });

  it("goes on through the others when the node that it knew first is gone", async () => {
    const { run } = await machine();
    expect(await run(["context", "add", "home", "-"], await ticket("viewer"))).toMatchObject({ code: 0 });
    const [{ nodes = [] } = {}] = JSON.parse((await run(["context", "list", "-o", "json"])).stdout) as {
      nodes: { endpointId: string }[];
    }[];
    const first = cluster.nodes.find(({ ready }) => ready.endpointId === nodes[0]?.endpointId);
    const unused = await ticket("viewer");
    await cluster.kill(first?.id ?? 0);
    try {
      expect(await run(["status", "-o", "name"])).toMatchObject({ code: 0 });
      expect(await run(["kv", "list"])).toMatchObject({ code: 0 });
      expect(await run(["context", "add", "again", "-"], unused)).toMatchObject({ code: 0 });
    } finally {
      // The VM on it lives on; only its node ends it with the cluster.
      await cluster.restart(first?.id ?? 0);
    }
  });
});
