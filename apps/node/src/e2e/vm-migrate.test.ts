/** VMs that go to another node with their disks, from the command line: what interrupts that, and what is left behind. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, existsSync, statSync } from "node:fs";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlixardClient } from "@blixard/client";
import type { OperationRecord, VmRecord, VolumeRecord } from "@blixard/protocol";
import { instanceProcesses, ProcessCluster } from "@blixard/testing";
import {
  describeWith,
  linuxGuestCommandLine,
  linuxGuestFiles,
  linuxGuestNeeds,
  linuxGuestReady,
} from "@blixard/vm-manager/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { until } from "./inside-the-wall/wall-cluster.ts";
import { ProcessCounter } from "./process-counter.ts";
import { runBinary } from "./run-binary.ts";

const mebibyte = 1024 ** 2;
const patienceMs = 180_000;
const ids = [1, 2, 3];
/** Of the link between the nodes. */
const linkMibPerSecond = 12;

describeWith(describe, linuxGuestNeeds)("a VM that goes to another node with its disks", () => {
  let cluster: ProcessCluster;
  let client: BlixardClient;
  let files: string;
  let counter: ProcessCounter | undefined;

  beforeAll(async () => {
    const flags = ["--vm-driver", "qemu", "--disk-copy-mib", String(linkMibPerSecond)];
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags });
    client = cluster.client();
    files = await mkdtemp(join(tmpdir(), "blixard-image-"));
  }, patienceMs);

  afterAll(async () => {
    const vms = await client.vms.list().catch((): VmRecord[] => []);
    client.close();
    await cluster.close();
    for (const pid of vms.flatMap(({ vmId }) => instanceProcesses(vmId))) process.kill(pid, "SIGKILL");
    await rm(files, { recursive: true, force: true });
  });

  afterEach(async () => {
    await counter?.stop();
    counter = undefined;
  });

  const env = () => ({
    BLIXARD_ADDRESS: cluster.nodes.map(({ ready }) => ready.http).join(","),
    BLIXARD_TOKEN: cluster.token,
  });
  const blixard = (...args: string[]) => runBinary(args, { env: env() });
  const fileOf = (vmId: string, node: number | null, name: string) =>
    join(cluster.dataRoot, `node-${node}`, "vms", "instances", vmId, name);
  const otherThan = (...nodes: (number | null)[]) => ids.find((id) => !nodes.includes(id)) ?? 0;
  const running = async (name: string) => await client.vms.waitForPhase(name, ["Running"], { timeoutMs: patienceMs });
  const operationOf = async (text: string): Promise<OperationRecord> =>
    await client.operations.get(/\b[0-9a-f]{12}\b/.exec(text)?.[0] ?? "");

  async function digestOf(path: string): Promise<string> {
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
    return hash.digest("hex");
  }

  const volumeFile = ({ volumeId }: VolumeRecord, node: number | null) =>
    join(cluster.dataRoot, `node-${node}`, "vms", "volumes", `${volumeId}.raw`);

  /** A VM with random bytes on a disk that is mostly empty, and on a volume when one is named. */
  async function createWithData(name: string, mebibytes: number, volume?: string): Promise<VmRecord> {
    const options = ["--image", "demo", "--memory", "32M", "--disk", "data,size=2G"];
    if (volume !== undefined) {
      expect(await blixard("volume", "create", volume, "--size", "1G")).toMatchObject({ code: 0 });
      const made = await client.volumes.get(volume);
      await writeRandom(volumeFile(made, made.node), 2);
      options.push("--disk", `more,volume=${volume}`);
    }
    expect(await blixard("vm", "create", name, ...options)).toMatchObject({ code: 0 });
    const vm = await client.vms.waitFor(name, "its disks", ({ disks }) => disks !== undefined);
    await writeRandom(fileOf(vm.vmId, vm.node, "disk-data.raw"), mebibytes);
    return vm;
  }

  async function writeRandom(path: string, mebibytes: number): Promise<void> {
    const file = await open(path, "r+");
    for (let at = 0; at < mebibytes; at++) await file.write(randomBytes(mebibyte), 0, mebibyte, (100 + at) * mebibyte);
    await file.close();
  }

  /** The bytes that have come, once there are some. */
  async function copied(name: string, atLeast = 1): Promise<number> {
    const { held } = await client.vms.waitFor(
      name,
      "a part of its disks",
      (vm) => (vm.held?.copy?.doneBytes ?? 0) >= atLeast,
      { timeoutMs: patienceMs },
    );
    return held?.copy?.doneBytes ?? 0;
  }

  it(
    "finds there what its guest has written, and leaves nothing where it was",
    async () => {
      const { kernel, initrd } = linuxGuestFiles();
      await writeFile(join(files, "kernel"), kernel);
      await writeFile(join(files, "initrd"), initrd);
      await writeFile(join(files, "disk"), "on the disk of the image".padEnd(mebibyte));
      const image = [
        "--kernel",
        join(files, "kernel"),
        "--initrd",
        join(files, "initrd"),
        "--disk",
        join(files, "disk"),
      ];
      const imported = await blixard(
        "image",
        "import",
        "linux",
        ...image,
        "--format",
        "raw",
        "--append",
        linuxGuestCommandLine,
      );
      expect(imported).toMatchObject({ code: 0 });
      const disks = ["--disk", "root,size=3G", "--disk", "data,size=1G", "--disk", "tmp,size=1G,ephemeral"];
      expect(await blixard("vm", "create", "linux", "--image", "linux", "--memory", "128M", ...disks)).toMatchObject({
        code: 0,
      });
      const before = await running("linux");
      await typeInto(
        "linux",
        "echo root-was-here | dd of=/dev/vda bs=1M seek=1000 conv=fsync; echo data-was-here | dd of=/dev/vdb bs=1M seek=700 conv=fsync; echo all is written\n",
        "all is written",
      );
      counter = new ProcessCounter([before.vmId]);
      const to = otherThan(before.node);
      const moved = await blixard("vm", "move", "linux", "--to", String(to));
      expect(moved).toMatchObject({ code: 0, stdout: `linux is on node ${to}\n` });
      const after = await running("linux");
      expect(after).toMatchObject({
        node: to,
        disks: { node: to, names: ["root", "data", "tmp"] },
        moved: { node: to },
      });
      expect(after.fencingEpoch).toBeGreaterThan(before.fencingEpoch);
      await typeInto(
        "linux",
        "dd if=/dev/vda bs=1M skip=1000 count=1 | head -c 13; dd if=/dev/vdb bs=1M skip=700 count=1 | head -c 13; echo\n",
        "root-was-heredata-was-here",
      );
      // What was never written takes no room.
      expect(statSync(fileOf(after.vmId, to, "disk-data.raw")).blocks * 512).toBeLessThan(32 * mebibyte);
      await until("the end of the older copy", async () => !existsSync(fileOf(after.vmId, before.node, "")));
      await until("its record to say so", async () => (await client.vms.get("linux")).moved?.leftOn.length === 0);
      await counter.stop();
      expect(counter.most).toBe(1);
      // The node that lets its older copy go knows that the VM runs for another node of this machine.
      for (const node of cluster.nodes) expect(node.stderrTail(1_000)).not.toContain("foreign-process");
    },
    patienceMs,
  );

  it(
    "is where it was and runs again when that is cancelled, and whoever waited for it may leave",
    async () => {
      const before = await createWithData("taken-back", 60);
      const digest = await digestOf(fileOf(before.vmId, before.node, "disk-data.raw"));
      const to = otherThan(before.node);
      const left = await runBinary(["vm", "move", "taken-back", "--to", String(to)], {
        env: env(),
        until: `go to node ${to}`,
        untilSignal: "SIGINT",
      });
      const operation = await operationOf(left.stderr);
      expect(left).toMatchObject({
        code: 130,
        stderr: expect.stringContaining(`the operation ${operation.id} goes on`),
      });
      expect(operation).toMatchObject({ kind: "vm-migrate", subject: "VM taken-back", nodeId: before.node, to });
      await copied("taken-back");
      expect(await blixard("vm", "move", "taken-back")).toMatchObject({
        code: 5,
        stderr: expect.stringContaining(operation.id),
      });
      expect(await blixard("operations", "cancel", operation.id)).toMatchObject({ code: 0 });
      const after = await running("taken-back");
      expect(after).toMatchObject({ node: before.node });
      expect(after).not.toHaveProperty("held");
      expect(await digestOf(fileOf(after.vmId, after.node, "disk-data.raw"))).toBe(digest);
      const incoming = join(cluster.dataRoot, `node-${to}`, "vms", "incoming");
      const aside = async () => !existsSync(join(incoming, `${after.vmId}-${before.fencingEpoch + 1}`));
      await until("what came to be gone", aside);
    },
    patienceMs,
  );

  it("goes on where it was when either node or the leader is killed", async () => {
    const before = await createWithData("stubborn", 150, "stubborn-more");
    expect(await blixard("vm", "stop", "stubborn")).toMatchObject({ code: 0 });
    expect(await blixard("volume", "snapshot", "create", "stubborn-more", "kept")).toMatchObject({ code: 0 });
    expect(await blixard("vm", "start", "stubborn")).toMatchObject({ code: 0 });
    const volume = await client.volumes.get("stubborn-more");
    const kept = (file: string) => file.replace(".raw", `.${volume.snapshots?.[0]?.snapshotId}.raw`);
    const volumeDigest = await digestOf(volumeFile(volume, before.node));
    const digest = await digestOf(fileOf(before.vmId, before.node, "disk-data.raw"));
    const from = before.node ?? 0;
    const to = otherThan(from);
    counter = new ProcessCounter([before.vmId]);
    const { operation } = await client.vms.migrate({ name: "stubborn", to });
    let least = await copied("stubborn");
    for (const kill of [async () => to, async () => from, () => cluster.waitForLeader()]) {
      const killed = await kill();
      await cluster.kill(killed);
      await cluster.restart(killed);
      const seen = await copied("stubborn");
      expect(seen).toBeGreaterThanOrEqual(least);
      least = await copied("stubborn", seen + 2 * linkMibPerSecond * mebibyte);
    }
    const ended = await client.operations.waitFor(operation.id, { timeoutMs: patienceMs });
    expect(ended).toMatchObject({ state: "done", percent: 100, message: `it is on node ${to}` });
    const after = await running("stubborn");
    expect(after).toMatchObject({ node: to, disks: { node: to, names: ["data"] } });
    expect(await digestOf(fileOf(after.vmId, to, "disk-data.raw"))).toBe(digest);
    const volumeNow = await client.volumes.get("stubborn-more");
    expect(volumeNow).toMatchObject({ node: to, attachedTo: "stubborn" });
    expect(await digestOf(volumeFile(volumeNow, to))).toBe(volumeDigest);
    expect(await digestOf(kept(volumeFile(volumeNow, to)))).toBe(volumeDigest);
    expect(statSync(volumeFile(volumeNow, to)).blocks * 512).toBeLessThan(32 * mebibyte);
    await until("the end of the older copy", async () => !existsSync(fileOf(after.vmId, from, "")));
    await until("the end of the older volume", async () => !existsSync(volumeFile(volume, from)));
    expect(existsSync(kept(volumeFile(volume, from)))).toBe(false);
    await until("its record to say so", async () => {
      const { state, came, leftOn } = await client.volumes.get("stubborn-more");
      return state === "ready" && came === undefined && leftOn === undefined;
    });
    expect(counter.most).toBe(1);
  }, 300_000);

  it("leaves its node in a drain and comes back, and is refused what cannot be done", async () => {
    const vm = await createWithData("guarded", 5, "guarded-more");
    const node = vm.node ?? 0;
    const drained = await blixard("nodes", "drain", String(node), "--mode", "migrate", "--parallel", "4", "--yes");
    expect(drained).toMatchObject({ code: 0 });
    for (const { name, node: now } of await client.vms.list()) expect([name, now]).not.toEqual([name, node]);
    expect(await running("guarded")).toMatchObject({ home: { node } });
    expect(await blixard("vm", "move", "guarded", "--to", String(node))).toMatchObject({
      stderr: expect.stringContaining("cordoned"),
    });
    expect(await blixard("nodes", "resume", String(node))).toMatchObject({ code: 0 });
    const back = await running("guarded");
    expect(back).toMatchObject({ node, moved: { node } });
    expect(await client.volumes.get("guarded-more")).toMatchObject({ node, attachedTo: "guarded" });
    expect(await blixard("vm", "move", "guarded", "--to", String(node))).toMatchObject({ code: 5 });
    expect(await blixard("vm", "move", "guarded", "--to", "9")).toMatchObject({ code: 3 });
    expect(await blixard("vm", "stop", "guarded")).toMatchObject({ code: 0 });
    const to = otherThan(node);
    expect(await blixard("vm", "move", "guarded", "--to", String(to))).toMatchObject({ code: 0 });
    expect(await client.vms.get("guarded")).toMatchObject({ node: to, phase: "Stopped", desired: "stopped" });
    expect(await blixard("vm", "start", "guarded")).toMatchObject({ code: 0 });
    await until("the end of the older copy", async () => !existsSync(fileOf(vm.vmId, node, "")));
  }, 300_000);

  it("is not needed for a volume that no VM has, which goes alone, and stays where it was when that is cancelled", async () => {
    expect(await blixard("volume", "create", "alone", "--size", "1G", "--node", "1")).toMatchObject({ code: 0 });
    const before = await client.volumes.get("alone");
    await writeRandom(volumeFile(before, 1), 60);
    const digest = await digestOf(volumeFile(before, 1));
    const copied = async (atLeast: number) =>
      until("a part of it to come", async () => {
        const { moving } = await client.volumes.get("alone");
        return (moving?.copy?.doneBytes ?? 0) >= atLeast;
      });
    const left = await runBinary(["volume", "move", "alone", "--to", "2"], {
      env: env(),
      until: "it goes to node 2",
      untilSignal: "SIGINT",
    });
    const { id } = await operationOf(left.stderr);
    expect(left).toMatchObject({ code: 130, stderr: expect.stringContaining(`the operation ${id} goes on`) });
    await copied(1);
    expect((await blixard("volume", "list")).stdout).toContain("1 (goes to 2)");
    expect((await blixard("operations", "list")).stdout).toMatch(/volume-move +volume alone +running/);
    const wanted = ["--image", "demo", "--memory", "32M", "--disk", "data,volume=alone"];
    expect(await blixard("vm", "create", "hasty", ...wanted)).toMatchObject({
      code: 5,
      stderr: expect.stringContaining(`blixard operations wait ${id}`),
    });
    expect(await blixard("operations", "cancel", id)).toMatchObject({ code: 0 });
    expect(await client.volumes.get("alone")).toMatchObject({ node: 1, state: "ready" });

    const { operation } = await client.volumes.move({ name: "alone", to: 2 });
    await copied(100 * mebibyte);
    await cluster.kill(2);
    await cluster.restart(2);
    expect(await blixard("operations", "wait", operation.id)).toMatchObject({ code: 0 });
    const after = await client.volumes.get("alone");
    expect(after).toMatchObject({ node: 2, state: "ready", volumeId: before.volumeId });
    expect(await digestOf(volumeFile(after, 2))).toBe(digest);
    expect(statSync(volumeFile(after, 2)).blocks * 512).toBeLessThan(90 * mebibyte);
    await until("the end of the older copy", async () => !existsSync(volumeFile(before, 1)));
    expect(await blixard("vm", "create", "owner", ...wanted)).toMatchObject({ code: 0 });
    expect(await running("owner")).toMatchObject({ node: 2 });
    expect(await blixard("volume", "move", "alone", "--to", "3")).toMatchObject({
      code: 5,
      stderr: expect.stringContaining("blixard vm move owner"),
    });
  }, 300_000);

  async function typeInto(name: string, typed: string, expected: string): Promise<void> {
    await untilLogged(name, linuxGuestReady);
    expect(await runBinary(["vm", "console", name], { env: env(), input: typed })).toMatchObject({ code: 0 });
    await untilLogged(name, expected);
  }

  async function untilLogged(name: string, text: string): Promise<void> {
    await until(`${name} to write ${text}`, async () => (await blixard("vm", "logs", name)).stdout.includes(text));
  }
});
