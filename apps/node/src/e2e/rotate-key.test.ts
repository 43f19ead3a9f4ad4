/** The keys of a follower, of the leader and of a worker are rotated, one after the other, while the cluster serves. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlixardClient, connectClient } from "@blixard/client";
import { fromHex, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { endpointIdOfSeed } from "@blixard/identity";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { type BinaryRun, runBinary } from "./run-binary.ts";

const flags = ["--vm-driver", "fake", "--transport", "dual", "--no-relay", "--no-discovery"];
const roles = ["voter", "voter", "voter", "worker"] as const;

let root: string;
const nodes = new Map<number, ProcessNode>();
/** The key files that were rotated away. */
const former = new Map<number, string>();
const env = () => ({ XDG_DATA_HOME: join(root, "home"), XDG_CONFIG_HOME: join(root, "home") });
const dirOf = (id: number | string) => join(root, String(id));
const keyIn = async (id: number | string) =>
  endpointIdOfSeed(fromHex((await readFile(join(dirOf(id), "node.key"), "utf8")).trim()) ?? new Uint8Array());
const type = (at: number | string, ...args: string[]): Promise<BinaryRun> =>
  runBinary([...args, "--data-dir", dirOf(at)], { env: env(), timeoutMs: 120_000 });

async function done(at: number | string, ...args: string[]): Promise<string> {
  const run = await type(at, ...args);
  expect([args, run]).toMatchObject([args, { code: 0 }]);
  return run.stdout;
}

async function ticket(role: string): Promise<string> {
  return (JSON.parse(await done(1, "ticket", "create", "--role", role, "-o", "json")) as { ticket: string }).ticket;
}

/** Who leads, as node `at` sees it. */
async function leaderOf(at: number): Promise<number> {
  return (JSON.parse(await done(at, "status", "-o", "json")) as { leaderId: number }).leaderId;
}

/** Writes one key after the other until it is told to stop, and gives what could not be written. */
function write(client: BlixardClient) {
  let stopped = false;
  let written = 0;
  const failures: string[] = [];
  const all = (async () => {
    while (!stopped) {
      await client.kv.put(`k${written}`, String(written)).catch((error: unknown) => failures.push(String(error)));
      written++;
      await sleep(systemClock, 50);
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await all;
      return { written, failures };
    },
  };
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-rotate-"));
  for (const [at, role] of roles.entries()) {
    const id = at + 1;
    const place = { binary: builtBinary(), id, dataDir: dirOf(id), flags };
    const join = id === 1 ? {} : { join: await ticket(role) };
    nodes.set(id, await ProcessNode.start({ ...place, ...join }));
  }
});

afterAll(async () => {
  await Promise.all([...nodes.values()].map((node) => node.stop("SIGKILL")));
  await rm(root, { recursive: true, force: true });
});

const node = (id: number): ProcessNode => {
  const found = nodes.get(id);
  if (found === undefined) throw new Error(`there is no node ${id}`);
  return found;
};

/** Rotates the key of the node `id` in the directory `dir`, asked through the one in `at`. */
async function rotate(dir: number | string, at: number | string, id = Number(dir), process = id): Promise<void> {
  const before = await keyIn(dir);
  former.set(process, await readFile(join(dirOf(dir), "node.key"), "utf8"));
  const out = await done(at, "cluster", "rotate-key", String(id), "-o", "json");
  const after = await keyIn(dir);
  expect(after).not.toBe(before);
  expect(JSON.parse(out)).toMatchObject({ nodeId: id, endpointId: after });
  expect(await done(at, "cluster", "banned")).toContain(before);
  // What names the node in its directory follows.
  for (const name of ["node.json", "runtime.json"]) {
    expect(JSON.parse(await readFile(join(dirOf(dir), name), "utf8"))).toMatchObject({ endpointId: after });
  }
  expect(node(process).isRunning).toBe(true);
}

describe("blixard cluster rotate-key", () => {
  it("gives a follower, the leader and a worker another key while the cluster serves", async () => {
    const addresses = [1, 2, 3].map((id) => node(id).ready.http);
    const client = connectClient({ addresses, token: await node(1).token() });
    const writing = write(client);
    const follower = (await leaderOf(1)) === 3 ? 2 : 3;
    await rotate(follower, 1);
    const leader = await leaderOf(1);
    await rotate(leader, leader);
    await rotate(4, 1);
    // Once more: each rotation counts on from the one before.
    await rotate(4, follower);
    const { written, failures } = await writing.stop();
    expect(failures).toEqual([]);
    expect(written).toBeGreaterThan(10);
    client.close();
  });

  it("lets a member in that joins later, and members that were away go on", async () => {
    const place = { binary: builtBinary(), id: 5, dataDir: dirOf(5), flags };
    nodes.set(5, await ProcessNode.start({ ...place, join: await ticket("worker") }));
    for (const id of [1, 2, 3, 4]) nodes.set(id, await node(id).restart());
    await done(1, "kv", "put", "after", "all");
    expect(await done(2, "kv", "get", "after")).toContain("all");
  });

  it("serves a machine that joins the only voter after that, which replays the log of before", async () => {
    const only = { binary: builtBinary(), id: 1, dataDir: dirOf("only"), flags };
    nodes.set(11, await ProcessNode.start(only));
    await rotate("only", "only", 1, 11);
    const made = JSON.parse(await done("only", "ticket", "create", "--role", "worker", "-o", "json")) as {
      ticket: string;
    };
    const place = { binary: builtBinary(), id: 2, dataDir: dirOf("joiner"), flags, join: made.ticket };
    nodes.set(12, await ProcessNode.start(place));
    await done("only", "kv", "put", "after", "all");
    const members = JSON.parse(await done("only", "nodes", "list", "-o", "json")) as { state: string }[];
    expect(members).toMatchObject([{ state: "ready" }, { state: "ready" }]);
  });

  it("refuses the key of before for good", async () => {
    const path = join(dirOf(4), "node.key");
    await node(4).stop("SIGKILL");
    await writeFile(path, former.get(4) ?? "");
    await writeFile(
      join(dirOf(4), "node.json"),
      (await readFile(join(dirOf(4), "node.json"), "utf8")).replace(
        /"endpointId": "[^"]*"/,
        `"endpointId": "${endpointIdOfSeed(fromHex((former.get(4) ?? "").trim()) ?? new Uint8Array())}"`,
      ),
    );
    const args = [
      "node",
      "--id",
      "4",
      "--data-dir",
      dirOf(4),
      "--bind",
      "127.0.0.1:0",
      "--http",
      "127.0.0.1:0",
      ...flags,
    ];
    const run = await runBinary(args, { env: env(), timeoutMs: 60_000 });
    expect(run).toMatchObject({ code: 77, stderr: expect.stringContaining("banned") });
  });
});
