// A VM that a node of one release started and left running, for a node of another release to adopt. See README.md.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ReleaseNode, sleep, waitFor } from "./release-node.mjs";

const vmName = "web";
const vmTimeoutMs = 120_000;
const endTimeoutMs = 10_000;
const usage = `usage: running-vm.mjs start --checkout BUILT_CHECKOUT --data-dir NEW_DIRECTORY [--driver auto|qemu|embedded]
       running-vm.mjs adopt --checkout BUILT_CHECKOUT --data-dir DIRECTORY [--driver ...] [--keep]
       running-vm.mjs stop --data-dir DIRECTORY`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    checkout: { type: "string" },
    "data-dir": { type: "string" },
    driver: { type: "string", default: "auto" },
    keep: { type: "boolean", default: false },
  },
});
const [action] = positionals;
const isKnown = ["start", "adopt", "stop"].includes(action);
if (!isKnown || !values["data-dir"] || (action !== "stop" && !values.checkout)) {
  console.error(usage);
  process.exit(64);
}
const dataDir = resolve(values["data-dir"]);

const startNode = () =>
  ReleaseNode.start({
    ...{ checkout: values.checkout, id: 1, dataDir, logFile: `${dataDir}.log` },
    flags: ["--vm-driver", values.driver, "--no-relay", "--no-discovery"],
  });

/** What the data directory says of the process of each VM. */
function instancesOf() {
  const instances = join(dataDir, "vms", "instances");
  if (!existsSync(instances)) return [];
  return readdirSync(instances).flatMap((vmId) => {
    const path = join(instances, vmId, "instance.json");
    if (!existsSync(path)) return [];
    const { driver, fencingEpoch, handle } = JSON.parse(readFileSync(path, "utf8"));
    return [{ vmId, driver, fencingEpoch, pid: handle?.pid }];
  });
}

/** True while process `pid` is the one of the VM, and not another that got its number. */
function runsVm({ pid, vmId }) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(vmId);
  } catch {
    return false;
  }
}

const viewOf = ({ vmId, fencingEpoch, phase, driver, guest }) => ({ vmId, fencingEpoch, phase, driver, guest });

/** The VM once its guest has spoken. */
const runningVm = (node) =>
  waitFor(
    "the running VM",
    async () => {
      const vm = await node.get(`/v1/vms/${vmName}`);
      return vm.phase === "Running" && vm.guest === "ready" ? viewOf(vm) : undefined;
    },
    vmTimeoutMs,
  );

function theInstance() {
  const [instance] = instancesOf();
  if (instance === undefined || !runsVm(instance)) throw new Error(`no process runs a VM of ${dataDir}`);
  return instance;
}

async function start() {
  if (existsSync(dataDir)) throw new Error(`${dataDir} exists`);
  const node = await startNode();
  try {
    await node.call("POST", "/v1/vms", { name: vmName, spec: { vcpus: 1, memoryMiB: 64, image: "demo" } });
    const vm = await runningVm(node);
    await node.stop();
    console.log(JSON.stringify({ ...vm, pid: theInstance().pid }));
  } catch (error) {
    await node.stop("SIGKILL");
    await stop();
    throw error;
  }
}

async function adopt() {
  const before = theInstance();
  const node = await startNode();
  try {
    const vm = await runningVm(node);
    // The node answers for the console only when it has taken the VM over.
    const { text } = await node.get(`/v1/vms/${vmName}/logs?offset=0`);
    if (!text.includes("nano guest")) throw new Error("the console does not hold what the guest said");
    const after = theInstance();
    const isSame = ["vmId", "pid", "fencingEpoch"].every((field) => before[field] === after[field]);
    if (!isSame || vm.vmId !== before.vmId || vm.fencingEpoch !== before.fencingEpoch) {
      throw new Error(`not adopted: before ${JSON.stringify(before)}, after ${JSON.stringify({ ...after, vm })}`);
    }
    console.log(JSON.stringify({ ...vm, pid: after.pid, adopted: true }));
    if (values.keep) return;
    await node.call("DELETE", `/v1/vms/${vmName}`);
    await waitFor("the end of the VM", () => !runsVm(before));
    console.log(JSON.stringify({ pid: before.pid, ended: true }));
  } finally {
    await node.stop();
  }
}

/** Ends the processes of VMs by their ids, each only while it is still that VM. */
async function stop() {
  for (const instance of instancesOf()) {
    if (!runsVm(instance)) continue;
    process.kill(instance.pid, "SIGTERM");
    const end = Date.now() + endTimeoutMs;
    while (runsVm(instance) && Date.now() < end) await sleep(100);
    if (runsVm(instance)) process.kill(instance.pid, "SIGKILL");
    console.log(JSON.stringify({ pid: instance.pid, ended: true }));
  }
}

await { start, adopt, stop }[action]();
