import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeStatus } from "@blixard/protocol";
import { type IrohRelay, ProcessNode, startIrohRelay } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";
import { type SeparateNetworks, separateNetworks } from "./separate-networks.ts";

let root: string;
let networks: SeparateNetworks;
let relay: IrohRelay;
const nodes: ProcessNode[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-relay-"));
  networks = await separateNetworks(3);
  relay = await startIrohRelay(networks.relayHost);
});

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  await relay?.close();
  await networks?.close();
  await rm(root, { recursive: true, force: true });
});

/** A node on a machine that reaches nothing but the relay. */
async function startNode(id: number, join_?: string): Promise<ProcessNode> {
  const machine = networks.machines[id - 1];
  const node = await ProcessNode.start({
    binary: builtBinary(),
    id,
    dataDir: join(root, String(id)),
    bind: `${machine?.host}:7001`,
    networkNamespace: machine?.namespace ?? "",
    flags: ["--relay-urls", relay.url, "--no-discovery", "--vm-driver", "fake"],
    ...(join_ === undefined ? {} : { join: join_ }),
  });
  nodes[id - 1] = node;
  return node;
}

/** Runs a command on the machine of a node, with the token of that node. */
async function on(node: ProcessNode, ...args: string[]) {
  const networkNamespace = networks.machines[node.id - 1]?.namespace ?? "";
  const env = { BLIXARD_ADDRESS: node.ready.http, BLIXARD_TOKEN: (await nodes[0]?.token()) ?? "" };
  const outcome = await runBinary(args, { networkNamespace, env });
  expect(outcome).toMatchObject({ code: 0 });
  return outcome.stdout;
}

/** Each question is a process, which is pause enough. */
async function statusUntil(node: ProcessNode, holds: (status: NodeStatus) => boolean): Promise<NodeStatus> {
  for (;;) {
    const status = JSON.parse(await on(node, "status", "-o", "json")) as NodeStatus;
    if (holds(status)) return status;
  }
}

const memberOf = ({ members }: NodeStatus, id: number) => members.find((member) => member.id === id);

describe("machines without a way to each other but a relay", () => {
  it("form a cluster with one ticket, and find each other again", async () => {
    const first = await startNode(1);
    // Until it has found the relay, a ticket would name addresses alone that nobody reaches.
    await statusUntil(first, (status) => memberOf(status, 1)?.addresses.includes(relay.url) === true);
    await on(first, "kv", "put", "key", "before");
    const second = await startNode(2, (await on(first, "ticket", "create", "--role", "voter")).trim());
    const status = await statusUntil(second, (now) => memberOf(now, 2)?.role === "voter");
    expect(memberOf(status, 1)).toMatchObject({ path: "relay" });
    expect(await on(second, "kv", "get", "key")).toBe("before\n");
    expect(relay.forwarded).toBeGreaterThan(0);

    await statusUntil(first, (now) => memberOf(now, 2)?.addresses.includes(relay.url) === true);
    const again = await second.restart();
    nodes[1] = again;
    // Both are needed for this.
    await on(first, "kv", "put", "key", "after");
    expect(await on(again, "kv", "get", "key")).toBe("after\n");
  });

  it("fetch images from each other", async () => {
    const [first, second] = nodes;
    if (first === undefined || second === undefined) throw new Error("both nodes run");
    const disk = join(root, "disk");
    await writeFile(disk, new Uint8Array(300_000).fill(7));
    await on(first, "image", "import", "seven", "--disk", disk, "--format", "raw");
    await on(first, "nodes", "cordon", "1");
    await on(first, "vm", "create", "there", "--image", "seven", "--memory", "64M");
    const bulk = memberOf(await statusUntil(second, () => true), 1)?.bulk;
    expect(bulk).toMatchObject({ route: "iroh" });
  });

  it("are called from a third one with a ticket for an operator", async () => {
    const [first] = nodes;
    if (first === undefined) throw new Error("the first node runs");
    const ticket = await on(first, "ticket", "create", "--role", "operator");
    const networkNamespace = networks.machines[2]?.namespace ?? "";
    const env = { HOME: join(root, "home"), XDG_CONFIG_HOME: join(root, "home/config") };
    const added = await runBinary(["context", "add", "far", "-", "--no-discovery"], {
      networkNamespace,
      env,
      input: ticket,
    });
    expect(added).toMatchObject({ code: 0, stdout: "far\n" });
    const got = await runBinary(["kv", "get", "key"], { networkNamespace, env });
    expect(got).toMatchObject({ code: 0, stdout: "after\n" });
  });
});
