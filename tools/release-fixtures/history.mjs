// What is done to a cluster before its directories become fixtures: every kind of command, and each kind of record in
// several conditions.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand, waitFor } from "./release-node.mjs";

const vmSettled = ({ desired, phase }) =>
  ({ running: phase === "Running", stopped: phase === "Stopped", paused: phase === "Paused" })[desired] === true;

const spec = (fields = {}) => ({ vcpus: 1, memoryMiB: 64, image: "demo", ...fields });

/** Waits until each VM is what is wanted of it. */
export async function waitForVms(node) {
  await waitFor("the VMs to be what is wanted", async () => (await node.get("/v1/vms")).items.every(vmSettled));
}

export async function writeKeys(node) {
  const put = (key, value, headers) =>
    node.call("PUT", `/v1/kv/${encodeURIComponent(key)}`, { value }, { headers, allow: [409, 412] });
  const cas = (key, from, to) => node.call("POST", `/v1/kv/${encodeURIComponent(key)}/cas`, { from, to });
  for (let at = 0; at < 20; at++) await put(`config/${at}`, `value ${at}`);
  await put("empty", "");
  await put("größe/日本", "schlüssel – 値 🙂");
  await put("long", "0123456789abcdef".repeat(128));
  for (const at of [3, 7, 11]) await node.call("DELETE", `/v1/kv/${encodeURIComponent(`config/${at}`)}`);
  await cas("counter", null, "1");
  await cas("counter", "1", "2");
  await cas("counter", "1", "never");
  await cas("config/5", "value 5", null);
  // Refused, and in the log all the same: the key changed at another index.
  await put("counter", "never", { "if-match": '"1"' });
  // The second is answered with the result of the first.
  for (const value of ["first", "first"]) await put("once", value, { "idempotency-key": "asked-twice" });
}

export async function makeVms(node, { checkout, workDir }) {
  const disk = join(workDir, "disk.raw");
  writeFileSync(disk, Buffer.alloc(1_024, "blixard fixture "));
  const access = ["--address", node.ready.http, "--token-file", join(node.dataDir, "admin.token")];
  await runCommand(checkout, ["image", "import", "small-disk", "--disk", disk, "--min-memory", "32M", ...access]);
  await runCommand(checkout, ["image", "import", "forgotten", "--disk", disk, ...access]);
  await node.call("DELETE", "/v1/images/forgotten");

  const create = (name, fields, more = {}) => node.call("POST", "/v1/vms", { name, spec: spec(fields), ...more });
  await create("web");
  await create("batch", { vcpus: 2, memoryMiB: 96, restartPolicy: "always" });
  await create("frozen", { onPartition: "keep" });
  await create("idle", { image: "small-disk", restartPolicy: "never" }, { desired: "stopped" });
  await create("again");
  await create("gone");
  await create("forced");
  await waitForVms(node);
  await node.call("POST", "/v1/vms/batch/stop", {});
  await node.call("POST", "/v1/vms/frozen/pause", {});
  await node.call("POST", "/v1/vms/again/restart", {});
  await node.call("DELETE", "/v1/vms/gone");
  await node.call("PATCH", "/v1/vms/forced", { desired: "deleted", force: true });
  await waitForVms(node);
}

/** Tickets and tokens in each condition; a person joins with a key of its own, over Iroh. */
export async function makeTicketsAndTokens(node, { checkout, workDir }) {
  const day = 24 * 3_600;
  const ticket = (fields) => node.call("POST", "/v1/tickets", { ttlSeconds: day, ...fields });
  await ticket({ role: "voter", nodeName: "spare" });
  await ticket({ role: "viewer", ttlSeconds: 30 * day });
  const revoked = await ticket({ role: "witness" });
  await node.call("DELETE", `/v1/tickets/${revoked.id}`);
  const operator = await ticket({ role: "operator", nodeName: "ada" });
  const env = { XDG_CONFIG_HOME: join(workDir, `config-${node.ready.clusterId}`) };
  const args = ["context", "add", "ada", "-", "--no-relay", "--no-discovery"];
  await runCommand(checkout, args, { env, input: operator.ticket });
  await node.call("POST", "/v1/tokens", { role: "viewer", name: "dashboard" });
  const lost = await node.call("POST", "/v1/tokens", { role: "admin", name: "lost" });
  await node.call("DELETE", `/v1/tokens/${lost.id}`);
}

/** Overwrites a few keys so often that a snapshot lets the log lose its first entries. */
export async function fillLog(node, count) {
  const numbers = Array.from({ length: count }, (_, at) => at);
  const write = async () => {
    for (let n = numbers.shift(); n !== undefined; n = numbers.shift()) {
      // A name of its own instead of a random one lets the directory be compressed.
      const headers = { "idempotency-key": `fill-${n}` };
      await node.call("PUT", `/v1/kv/${encodeURIComponent(`fill/${n % 8}`)}`, { value: `fill ${n}` }, { headers });
    }
  };
  await Promise.all(Array.from({ length: 32 }, write));
}
