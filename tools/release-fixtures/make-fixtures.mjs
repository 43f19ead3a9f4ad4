// Makes data directories, a log and a snapshot with the binary of a built checkout. See README.md.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { fillLog, makeTicketsAndTokens, makeVms, waitForVms, writeKeys } from "./history.mjs";
import { observeFacts } from "./observed-facts.mjs";
import { readStore } from "./read-store.mjs";
import { ReleaseNode, waitFor } from "./release-node.mjs";

const { values } = parseArgs({
  options: {
    checkout: { type: "string" },
    out: { type: "string" },
    // Below the ports that systems give away by themselves, so that no other node comes to live at a recorded address.
    "base-port": { type: "string", default: "27560" },
  },
});
if (values.checkout === undefined || values.out === undefined) {
  console.error("usage: make-fixtures.mjs --checkout BUILT_CHECKOUT --out DIRECTORY [--base-port N]");
  process.exit(64);
}
const { checkout } = values;
const out = resolve(values.out);
const basePort = Number(values["base-port"]);
const workDir = mkdtempSync(join(tmpdir(), "blixard-fixtures-"));
const running = new Set();

/** More entries than a node keeps below its snapshot, so that its log begins after one that is gone. */
const fillEntries = 1_100;

async function startNode(name, id, flags = []) {
  const node = await ReleaseNode.start({
    ...{ checkout, id, dataDir: join(workDir, name, `node-${id}`), logFile: join(workDir, `${name}-${id}.log`) },
    ...{ bind: `127.0.0.1:${basePort + id}`, http: `127.0.0.1:${basePort + 100 + id}` },
    flags: [
      ...["--transport", "iroh", "--vm-driver", "fake", "--no-relay", "--no-discovery", "--debug-api"],
      ...["--log-format", "json", ...flags],
    ],
  });
  running.add(node);
  return node;
}

async function stopNode(node, signal) {
  await node.stop(signal);
  running.delete(node);
}

const waitForRole = (node, id, role) =>
  waitFor(`node ${id} as a ${role}`, async () =>
    (await node.get("/v1/members")).items.some((member) => member.id === id && member.role === role),
  );

/** One node with a snapshot, of which its log has lost the first entries, and with entries after it. */
async function makeSingle() {
  const node = await startNode("single", 1, ["--snapshot-entries", "500"]);
  await writeKeys(node);
  await makeVms(node, { checkout, workDir });
  await fillLog(node, fillEntries);
  await node.call("POST", "/v1/snapshot", {});
  await makeTicketsAndTokens(node, { checkout, workDir });
  await node.call("PUT", "/v1/kv/after-snapshot", { value: "written" });
  await waitForVms(node);
  const facts = await observeFacts(node);
  await stopNode(node);
  const { base, snapshot } = await readStore(checkout, node.dataDir);
  if (!(base.index > 0 && snapshot.meta.index >= base.index && snapshot.meta.index < facts.appliedIndex)) {
    throw new Error(`the log begins after ${base.index}, the snapshot stands at ${snapshot?.meta.index}`);
  }
  writeJson("single.facts.json", { ...facts, logBase: base.index, snapshotIndex: snapshot.meta.index });
  pack("single");
}

/** Three nodes: the first with a snapshot and the log after it, the others with the whole log. */
async function makeCluster() {
  const first = await startNode("cluster", 1);
  const bind = first.ready.bind;
  const nodes = [first];
  for (const id of [2, 3]) nodes.push(await startNode("cluster", id, ["--snapshot-entries", "0", "--join", bind]));
  for (const { id } of nodes) await waitForRole(first, id, "voter");
  await writeKeys(first);
  await makeVms(first, { checkout, workDir });
  await first.call("PATCH", "/v1/nodes/2", { cordoned: true });
  await first.call("PATCH", "/v1/members/3", { role: "worker" });
  await waitForRole(first, 3, "worker");

  const ticket = await first.call("POST", "/v1/tickets", { role: "worker", nodeName: "passing" });
  const ticketFile = join(workDir, "ticket");
  writeFileSync(ticketFile, ticket.ticket);
  let passing = await startNode("cluster", 4, ["--join-file", ticketFile]);
  await waitForRole(first, 4, "worker");
  // While a snapshot is taken, the configuration has members that do not vote.
  await first.call("POST", "/v1/snapshot", {});
  // The emptiest node gets the next VM. A node that is silent is marked at its VMs.
  await first.call("POST", "/v1/vms", { name: "late", spec: { vcpus: 1, memoryMiB: 64, image: "demo" } });
  await waitForVms(first);
  const late = async () => (await first.get("/v1/vms")).items.find(({ name }) => name === "late");
  if ((await late()).node !== 4) throw new Error("the VM was placed elsewhere");
  await stopNode(passing, "SIGKILL");
  await waitFor("the mark of the silent node", async () => (await late()).conditions.length > 0);
  passing = await startNode("cluster", 4);
  await waitFor("the mark to be gone", async () => (await late()).conditions.length === 0);
  await first.call("DELETE", "/v1/vms/late");
  await waitFor("the VM to be gone", async () => (await late()) === undefined);
  await first.call("PATCH", "/v1/members/3", { role: "voter" });
  await waitForRole(first, 3, "voter");
  await first.call("DELETE", "/v1/members/4");
  await waitFor("the node to be gone", async () => (await first.get("/v1/nodes")).items.every(({ id }) => id !== 4));
  await stopNode(passing, "SIGKILL");

  await makeTicketsAndTokens(first, { checkout, workDir });
  await waitForVms(first);
  const facts = await observeFacts(first);
  const hashes = await first.get(`/v1/debug/log?from=1&to=${facts.appliedIndex}`);
  // The leader goes last: it hands over nothing that the others would have to store.
  for (const node of [...nodes].reverse()) await stopNode(node);
  rmSync(passing.dataDir, { recursive: true });
  await writeGolden(facts, hashes, nodes);
  pack("cluster");
}

/** Writes what the stores hold as bytes: every entry of the log with what it means, and the snapshot. */
async function writeGolden(facts, hashes, [first, second]) {
  const { base, entries } = await readStore(checkout, second.dataDir);
  const { snapshot } = await readStore(checkout, first.dataDir);
  const known = new Map(hashes.map(({ index, hash }) => [index, hash]));
  const golden = entries.filter(({ index }) => index <= facts.appliedIndex);
  if (base.index !== 0 || golden.length !== facts.appliedIndex || known.size !== golden.length) {
    throw new Error(`the log of node 2 has ${golden.length} entries after ${base.index}, and ${known.size} hashes`);
  }
  const lines = golden.map((entry) => JSON.stringify({ ...entry, hash: known.get(entry.index) }));
  writeFileSync(join(out, "log.jsonl"), `${lines.join("\n")}\n`);
  writeFileSync(join(out, "snapshot.bin"), snapshot.bytes);
  writeJson("snapshot.meta.json", snapshot.meta);
  writeJson("cluster.facts.json", { ...facts, snapshotIndex: snapshot.meta.index });
  const types = new Set(golden.flatMap(({ command }) => (command === undefined ? [] : [command.body.type])));
  console.error(`commands in the log: ${[...types].sort().join(", ")}`);
}

function writeJson(name, value) {
  writeFileSync(join(out, name), `${JSON.stringify(value, null, 2)}\n`);
}

/** Packs the directories of the nodes of `name`, without the paths and names of this machine. */
function pack(name) {
  for (const node of readdirSync(join(workDir, name))) forgetMachine(join(workDir, name, node));
  const facts = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--format=ustar"];
  const tar = execFileSync("tar", [...facts, "-C", join(workDir, name), "-cf", "-", "."], { maxBuffer: 1e9 });
  writeFileSync(join(out, `${name}.tar.gz`), gzipSync(tar, { level: 9 }));
}

/** The sockets of VMs stand at an absolute path, which the records of the instances hold. */
function forgetMachine(dataDir) {
  const instances = join(dataDir, "vms", "instances");
  for (const vmId of readdirSync(instances)) {
    const path = join(instances, vmId, "instance.json");
    if (!existsSync(path)) continue;
    const record = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify({ ...record, runDirectory: "/var/lib/blixard/vms/run" }));
  }
}

mkdirSync(out, { recursive: true });
try {
  await makeSingle();
  await makeCluster();
  rmSync(workDir, { recursive: true });
} catch (error) {
  console.error(`what was made stands in ${workDir}`);
  throw error;
} finally {
  for (const node of running) await node.stop("SIGKILL");
}
