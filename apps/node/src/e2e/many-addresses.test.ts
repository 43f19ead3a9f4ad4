import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";
import { type SeparateNetworks, separateNetworks } from "./separate-networks.ts";

const run = promisify(execFile);
let root: string;
let networks: SeparateNetworks;
const nodes: ProcessNode[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-addresses-"));
  networks = await separateNetworks(2);
});

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop("SIGKILL")));
  await networks?.close();
  await rm(root, { recursive: true, force: true });
});

const machine = (id: number) => networks.machines[id - 1] ?? { namespace: "", host: "" };
const inside = (id: number, ...args: string[]) => run("ip", ["-n", machine(id).namespace, ...args]);

async function start(id: number, more: { join?: string } = {}): Promise<ProcessNode> {
  const node = await ProcessNode.start({
    ...{ binary: builtBinary(), id, dataDir: join(root, String(id)), bind: "0.0.0.0:7001", ...more },
    networkNamespace: machine(id).namespace,
    flags: ["--no-relay", "--no-discovery", "--vm-driver", "fake"],
  });
  nodes.push(node);
  return node;
}

describe("a machine with more addresses than others keep", () => {
  it("tells them the one that they reach, and warns", async () => {
    // A bridge with the first twenty, and then the wire to the other machine.
    await inside(1, "link", "add", "br-a", "type", "veth", "peer", "name", "br-b");
    for (const name of ["br-a", "br-b"]) await inside(1, "link", "set", name, "up");
    const bridged = Array.from({ length: 20 }, (_, at) => `172.17.${at}.1/24`);
    for (const address of bridged) await inside(1, "address", "add", address, "dev", "br-a");
    const peer = ["wire", "type", "veth", "peer", "name", "wire", "netns", machine(2).namespace];
    await inside(1, "link", "add", ...peer);
    for (const id of [1, 2]) {
      await inside(id, "address", "add", `198.18.100.${id}/24`, "dev", "wire");
      await inside(id, "link", "set", "wire", "up");
    }
    const first = await start(1);
    expect(first.stderrTail()).toMatch(/--advertise .*this machine has 22 addresses, and others are told of 16/);
    const env = { BLIXARD_ADDRESS: first.ready.http, BLIXARD_TOKEN: await first.token() };
    const args = ["ticket", "create", "--role", "voter"];
    const ticket = await runBinary(args, { networkNamespace: machine(1).namespace, env });
    const second = await start(2, { join: ticket.stdout.trim() });
    expect(second.ready.clusterId).toBe(first.ready.clusterId);
  });
});
