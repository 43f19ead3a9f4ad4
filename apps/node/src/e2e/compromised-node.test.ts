/**
 * The key of a worker is stolen, and an operator types what docs/compromised-node.md says: the commands are read from the page, so
 * that it cannot go stale.
 */
import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { type BinaryRun, runBinary } from "./run-binary.ts";

const runbook = new URL("../../../../docs/compromised-node.md", import.meta.url);
const flags = ["--vm-driver", "fake"];
const victim = 2;

let root: string;
let voter: ProcessNode;
let worker: ProcessNode;
let successor: ProcessNode | undefined;
const env = () => ({ XDG_DATA_HOME: join(root, "home"), XDG_CONFIG_HOME: join(root, "home") });
const dirOf = (name: number | string) => join(root, String(name));
const type = (...args: string[]) => runBinary([...args, "--data-dir", dirOf(1)], { env: env() });

async function done(...args: string[]): Promise<string> {
  const run = await type(...args);
  expect([args, run]).toMatchObject([args, { code: 0 }]);
  return run.stdout;
}
const made = async (...args: string[]) => JSON.parse(await done(...args, "-o", "json")) as Record<string, string>;
const ticket = async () => (await made("ticket", "create", "--role", "worker"))["ticket"] ?? "";

/** A machine that has nothing but the stolen key. */
async function thief(name: string, id: number, target: string): Promise<BinaryRun> {
  await mkdir(dirOf(name), { mode: 0o700 });
  await copyFile(join(dirOf(victim), "node.key"), join(dirOf(name), "node.key"));
  const args = [
    "node",
    "--id",
    String(id),
    "--data-dir",
    dirOf(name),
    "--bind",
    "127.0.0.1:0",
    "--http",
    "127.0.0.1:0",
  ];
  return runBinary([...args, ...flags, "--join", target], { env: env(), timeoutMs: 120_000 });
}

/** The commands of the page, in their order. */
async function commands(): Promise<string[]> {
  const text = await readFile(runbook, "utf8");
  return [...text.matchAll(/^ {4}blixard (.+)$/gm)].map(([, line = ""]) => line);
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-stolen-"));
  voter = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir: dirOf(1), flags });
  const place = { binary: builtBinary(), id: victim, dataDir: dirOf(victim), flags };
  worker = await ProcessNode.start({ ...place, join: await ticket() });
});

afterAll(async () => {
  await successor?.stop();
  await worker?.stop();
  await voter?.stop();
  await rm(root, { recursive: true, force: true });
});

describe("the runbook of a compromised node", () => {
  it("shuts the stolen key out for good, and the cluster serves", async () => {
    await done("nodes", "cordon", "1");
    await done("vm", "create", "web", "--image", "demo", "--memory", "64M");
    await done("nodes", "resume", "1");
    const [shown, unknown, early] = [await made("token", "create"), await made("token", "create"), await ticket()];
    const words: Readonly<Record<string, string>> = {
      ...{ ID: String(victim), NAME: "web", TOKEN: shown["id"] ?? "", SUSPECT: unknown["id"] ?? "" },
    };
    const outputs = new Map<string, string>();
    for (const line of await commands()) {
      const args = line.split(" ").map((word) => words[word] ?? word);
      // What a person is asked on a terminal.
      if (line.startsWith("cluster remove")) args.push("--yes", "--accept-two-copies", "web");
      if (line.startsWith("vm start")) expect(await worker.exited).toMatchObject({ code: 77 });
      outputs.set(line, await done(...args));
    }
    expect([...outputs.keys()]).toHaveLength(12);
    expect(outputs.get("cluster remove --compromised ID")).toMatch(/node-key +done[\s\S]*vms +to do.*web/);
    expect(outputs.get("cluster banned")).toContain(worker.ready.endpointId);
    expect(outputs.get("nodes list -o wide")).toContain(worker.ready.endpointId);
    expect(outputs.get("nodes list")?.trim().split("\n")).toHaveLength(2);

    // Tickets of before and after, another number, and the word that it is a member.
    const refused = { code: 77, stderr: expect.stringContaining("banned") };
    expect(await thief("later", 9, await ticket())).toMatchObject(refused);
    expect(await thief("same", victim, voter.ready.bind)).toMatchObject(refused);
    expect(await thief("early", 9, early)).toMatchObject({ code: 77 });
    expect(await type("nodes", "list", "-o", "name")).toMatchObject({ code: 0, stdout: "1\n" });

    const invitation = outputs.get("ticket create --role worker")?.trim().split("\n")[0] ?? "";
    const place = { binary: builtBinary(), id: victim, dataDir: dirOf("new"), flags, join: invitation };
    successor = await ProcessNode.start(place);
    expect(successor.ready.endpointId).not.toBe(worker.ready.endpointId);
    await done("kv", "put", "k", "v");
    expect(await done("kv", "get", "k")).toBe("v\n");
    expect(JSON.parse(await done("vm", "get", "web", "-o", "json"))).toMatchObject({ node: 1 });
  });
});
