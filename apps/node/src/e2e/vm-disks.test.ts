/** Disks of VMs, from the command line: how large they are, what becomes of them, and of a node whose file system they fill. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, createReadStream, existsSync, openSync, readSync, statSync } from "node:fs";
import { mkdtemp, open, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlixardClient } from "@blixard/client";
import type { VmRecord } from "@blixard/protocol";
import { instanceProcesses, ProcessCluster, ProcessNode } from "@blixard/testing";
import { ContentDigest, FileSource, openContent } from "@blixard/vm-manager/images";
import {
  describeWith,
  isoImage,
  linuxGuestCommandLine,
  linuxGuestFiles,
  linuxGuestNeeds,
  linuxGuestReady,
  partitionedDisk,
  SmallFileSystem,
  smallFileSystemNeeds,
} from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

const gibibyte = 1024 ** 3;

function readFirst(path: string, length: number): string {
  const descriptor = openSync(path, "r");
  const bytes = Buffer.alloc(length);
  readSync(descriptor, bytes);
  closeSync(descriptor);
  return bytes.toString();
}

async function sha256Of(path: string, bytes = Number.POSITIVE_INFINITY): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { end: bytes - 1 })) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

const patienceMs = 180_000;

describeWith(describe, linuxGuestNeeds)("disks of VMs", () => {
  let cluster: ProcessCluster;
  let client: BlixardClient;
  let files: string;

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: ["--vm-driver", "qemu"] });
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

  const at = (id: number, ...args: string[]) => runBinary([...args, "--data-dir", `${cluster.dataRoot}/node-${id}`]);
  const fileOf = ({ vmId }: VmRecord, node: number | null, name: string) =>
    join(cluster.dataRoot, `node-${node}`, "vms", "instances", vmId, name);
  const create = (name: string, ...more: string[]) =>
    at(1, "vm", "create", name, "--image", "demo", "--memory", "32M", ...more);

  it("have the sizes that were asked for, and what becomes of them is told before it happens", async () => {
    expect(await create("kept", "--disk", "data,size=2G")).toMatchObject({ code: 0 });
    expect(await create("scratch", "--disk", "tmp,size=1G,ephemeral")).toMatchObject({ code: 0 });
    expect(await create("bold", "--disk", "data,size=1G", "--on-node-loss", "move")).toMatchObject({ code: 0 });
    const { stdout } = await at(2, "vm", "list", "-o", "wide");
    expect(stdout).toMatch(/^kept .* waits .* data 2 GiB /m);
    expect(stdout).toMatch(/^scratch .* moves .* tmp 1 GiB \(ephemeral\) /m);
    expect(stdout).toMatch(/^bold .* moves without data .* data 1 GiB /m);
    const kept = await client.vms.waitFor("kept", "its disks", ({ disks }) => disks !== undefined, {
      timeoutMs: patienceMs,
    });
    expect(kept).toMatchObject({
      spec: { disks: [{ name: "data", sizeGiB: 2 }] },
      disks: { node: kept.node, names: ["data"] },
    });
    expect(statSync(fileOf(kept, kept.node, "disk-data.raw")).size).toBe(2 * gibibyte);
    const shown = (await at(2, "vm", "get", "kept")).stdout;
    expect(shown).toContain("Without its node it waits.");
    expect(shown).toMatch(new RegExp(`^data +2 GiB +kept +on node ${kept.node} +2 GiB +-$`, "m"));
    expect((await at(2, "vm", "explain", "kept")).stdout).toContain(`disk       data, 2 GiB: on node ${kept.node}`);
  });

  it.each([
    [["--disk", "data"], "sizeGiB"],
    [["--disk", "data,size=0"], "sizeGiB"],
    [["--disk", "data,size=9T"], "sizeGiB"],
    [["--disk", "data,size=1.5G"], "whole number of GiB"],
    [["--disk", "../data,size=1G"], "name"],
    [["--disk", "a=b,size=1G"], "name"],
    [["--disk", "data,size=1G", "--disk", "data,size=2G"], "same name"],
    [["--disk", "root,size=1G"], "the image has no disk"],
    [["--disk", "data,size=1G,file=/etc/passwd"], "file=/etc/passwd"],
  ])("are refused with %j", async (options, why) => {
    const refused = await create("bad", "--stopped", ...options);
    expect(refused).toMatchObject({ code: 64, stderr: expect.stringContaining(why) });
  });

  it("are not made anew when they have vanished, and go with their VM", async () => {
    const kept = await client.vms.get("kept");
    const file = fileOf(kept, kept.node, "disk-data.raw");
    expect(await at(1, "vm", "stop", "kept")).toMatchObject({ code: 0 });
    await rename(file, `${file}.aside`);
    const failed = await at(1, "vm", "start", "kept");
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining("disk-missing") });
    expect((await at(2, "vm", "list")).stdout).toMatch(/^kept +Failed .* disk-missing/m);
    expect(existsSync(file)).toBe(false);
    await rename(`${file}.aside`, file);
    expect(await at(1, "vm", "start", "kept")).toMatchObject({ code: 0 });
    expect(await at(1, "vm", "delete", "kept", "--yes")).toMatchObject({ code: 0 });
    expect(existsSync(file)).toBe(false);
  });

  it("that are ephemeral are fresh where the VM is started when its node is lost", async () => {
    const before = await client.vms.get("scratch");
    const lost = before.node ?? 0;
    await writeFile(fileOf(before, lost, "disk-tmp.raw"), "of the node that is lost", { flag: "r+" });
    await cluster.kill(lost);
    const asked = cluster.client([1, 2, 3].find((id) => id !== lost));
    const away = (seen: VmRecord) => seen.phase === "Running" && seen.node !== lost && seen.disks?.node === seen.node;
    const moved = await asked.vms.waitFor("scratch", "elsewhere", away, { timeoutMs: patienceMs });
    asked.close();
    expect(statSync(fileOf(moved, moved.node, "disk-tmp.raw"))).toMatchObject({ size: gibibyte, blocks: 0 });
    await cluster.restart(lost);
    const gone = fileOf(before, lost, "disk-tmp.raw");
    for (let tries = 0; existsSync(gone); tries++) {
      if (tries > patienceMs / 100) throw new Error(`${gone} is still there`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(instanceProcesses(before.vmId)).toHaveLength(1);
  });

  it("that are volumes live on their own, and one VM has each at a time", async () => {
    const volume = (...args: string[]) => at(1, "volume", ...args);
    expect(await volume("create", "db", "--size", "1G", "--node", "2")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^db +ready +1 GiB +2 +- /m),
    });
    const { volumeId } = await client.volumes.get("db");
    const file = join(cluster.dataRoot, "node-2", "vms", "volumes", `${volumeId}.raw`);
    await writeFile(file, "there before the VM", { flag: "r+" });
    expect(await create("store", "--disk", "data,volume=db")).toMatchObject({ code: 0 });
    expect(await client.vms.get("store")).toMatchObject({ node: 2, lossPolicy: { effect: "waits" } });
    expect((await volume("list")).stdout).toMatch(/^db +ready +1 GiB +2 +store /m);
    expect(await create("thief", "--disk", "data,volume=db")).toMatchObject({ code: 5 });
    expect(await create("thief", "--disk", "data,volume=none")).toMatchObject({ code: 3 });
    const moving = await create("thief", "--disk", "data,volume=db", "--on-node-loss", "move");
    expect(moving).toMatchObject({ code: 64, stderr: expect.stringContaining("spec.onNodeLoss") });
    expect(await volume("delete", "db", "--yes")).toMatchObject({ code: 5, stderr: expect.stringContaining("store") });
    expect(await at(1, "vm", "delete", "store", "--yes")).toMatchObject({ code: 0 });
    expect(statSync(file).size).toBe(gibibyte);
    expect(await volume("resize", "db", "--size", "512M")).toMatchObject({ code: 64 });
    expect(await volume("resize", "db", "--size", "2G")).toMatchObject({ code: 0 });
    expect(statSync(file).size).toBe(2 * gibibyte);
    expect(await volume("resize", "db", "--size", "1G")).toMatchObject({ code: 5 });
    expect(await volume("delete", "db", "--yes")).toMatchObject({ code: 0 });
    expect(existsSync(file)).toBe(false);
    expect(await volume("get", "db")).toMatchObject({ code: 3 });
  });

  it("that are volumes go into files, and come out of files, where they stopped", async () => {
    const volume = (...args: string[]) => at(1, "volume", ...args);
    const fileOfVolume = async (name: string) => {
      const { volumeId, node } = await client.volumes.get(name);
      return join(cluster.dataRoot, `node-${node}`, "vms", "volumes", `${volumeId}.raw`);
    };
    expect(await volume("create", "origin", "--size", "1G", "--node", "2")).toMatchObject({ code: 0 });
    const noise = randomBytes(3 * 1024 ** 2);
    const disk = await open(await fileOfVolume("origin"), "r+");
    await disk.write(partitionedDisk(512, 1_000));
    for (const [part, mebibytes] of [100, 700, 1_000].entries()) {
      await disk.write(noise, part * 1024 ** 2, 1024 ** 2, mebibytes * 1024 ** 2);
    }
    await disk.close();
    const raw = join(files, "origin.raw");
    const exported = await volume("export", "origin", raw);
    const sha256 = await sha256Of(await fileOfVolume("origin"));
    expect(exported).toMatchObject({ code: 0, stdout: expect.stringContaining(`sha256:${sha256}`) });
    expect(await sha256Of(raw)).toBe(sha256);
    expect(statSync(raw).blocks * 512).toBeLessThan(8 * 1024 ** 2);
    expect(await volume("export", "origin", raw)).toMatchObject({
      stderr: expect.stringContaining("is there already"),
    });
    const packed = join(files, "origin.qcow2");
    execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", "-c", raw, packed]);
    // What an earlier attempt had sent before the node was killed.
    await using source = await FileSource.open(packed);
    const content = await openContent(source);
    const digest = new ContentDigest();
    for await (const block of content.blocks(0)) digest.add(block);
    await client.volumes.create({ name: "back", sizeGiB: 2, node: 3, importDigest: digest.hex() });
    for await (const { offset, bytes } of content.blocks(0)) {
      if (offset > 600 * 1024 ** 2) break;
      await client.volumes.write({ name: "back", offset, data: Buffer.from(bytes).toString("base64") });
    }
    await cluster.kill(3);
    await cluster.restart(3);
    expect(await create("early", "--disk", "data,volume=back")).toMatchObject({ code: 5 });
    const resized = await volume("resize", "back", "--size", "4G");
    expect(resized).toMatchObject({ code: 5, stderr: expect.stringContaining("is being imported") });
    for (const [flag, value] of Object.entries({ "--size": "4G", "--node": "2" })) {
      const refused = await volume("import", "back", packed, flag, value);
      expect(refused).toMatchObject({ code: 5, stderr: expect.stringContaining("2 GiB on node 3") });
    }
    const checksum = `sha256:${await sha256Of(packed)}`;
    const imported = await volume("import", "back", packed, "--checksum", checksum);
    expect(imported).toMatchObject({ code: 0, stdout: expect.stringMatching(/^back +ready +2 GiB +3 +- /m) });
    expect(imported.stderr).toContain(`from byte ${101 * 1024 ** 2} of the disk on`);
    const back = await fileOfVolume("back");
    expect(statSync(back)).toMatchObject({ size: 2 * gibibyte });
    expect(statSync(back).blocks * 512).toBeLessThan(8 * 1024 ** 2);
    expect(await sha256Of(back, gibibyte)).toBe(sha256);
    expect(await volume("import", "back", packed)).toMatchObject({ stderr: expect.stringContaining("already") });
    // That is seen before the file is looked at.
    const taken = await volume("import", "back", join(files, "none"));
    expect(taken).toMatchObject({ code: 5, stderr: expect.stringContaining("there is a volume back already") });
    expect(await volume("import", "other", packed, "--checksum", `sha256:${"0".repeat(64)}`)).toMatchObject({
      code: 64,
    });
    expect(await volume("import", "other", raw, "--size", "512M")).toMatchObject({ code: 64 });
    await writeFile(join(files, "text"), "no disk at all".repeat(100));
    expect(await volume("import", "other", join(files, "text"))).toMatchObject({ code: 64 });
    expect(await volume("get", "other")).toMatchObject({ code: 3 });
    expect(await create("holder", "--disk", "data,volume=origin")).toMatchObject({ code: 0 });
    const held = await volume("export", "origin", join(files, "held"));
    expect(held).toMatchObject({ code: 5, stderr: expect.stringContaining("the VM holder runs with the volume") });
    expect(existsSync(join(files, "held"))).toBe(false);
    const snapshot = (...args: string[]) => volume("snapshot", ...args);
    expect(await snapshot("create", "origin", "live")).toMatchObject({ code: 0 });
    expect((await snapshot("list", "origin")).stdout).toMatch(/^live +ready +1 GiB +running /m);
    const [live] = (await client.volumes.get("origin")).snapshots ?? [];
    expect(await sha256Of((await fileOfVolume("origin")).replace(".raw", `.${live?.snapshotId}.raw`))).toBe(sha256);
    const running = await snapshot("restore", "origin", "live", "--yes");
    expect(running).toMatchObject({ code: 5, stderr: expect.stringContaining("the VM holder is to run with") });
    expect(await snapshot("delete", "origin", "live", "--yes")).toMatchObject({ code: 0 });
    expect(await at(1, "vm", "stop", "holder")).toMatchObject({ code: 0 });
    expect(await snapshot("create", "origin", "noisy")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^origin +ready +1 GiB +2 +holder +\S+ +noisy$/m),
    });
    expect(await snapshot("create", "origin", "noisy")).toMatchObject({ stderr: expect.stringContaining("already") });
    await writeFile(await fileOfVolume("origin"), "a mistake of the guest", { flag: "r+" });
    expect((await snapshot("list", "origin")).stdout).toMatch(/^noisy +ready +1 GiB +stopped /m);
    expect(await snapshot("restore", "origin", "none", "--yes")).toMatchObject({ code: 3 });
    expect(await snapshot("restore", "origin", "noisy", "--yes")).toMatchObject({ code: 0 });
    expect(await sha256Of(await fileOfVolume("origin"))).toBe(sha256);
    expect(await at(1, "vm", "start", "holder")).toMatchObject({ code: 0 });
    expect(await snapshot("delete", "origin", "noisy", "--yes")).toMatchObject({ code: 0 });
    expect((await client.volumes.get("origin")).snapshots).toBeUndefined();
    expect(await at(1, "vm", "delete", "holder", "--yes")).toMatchObject({ code: 0 });
  });

  it("of an image stand beside its kernel, in the size that is asked for", async () => {
    const { kernel, initrd } = linuxGuestFiles();
    const [kernelFile, initrdFile, diskFile] = ["kernel", "initrd", "disk"].map((name) => join(files, name));
    await writeFile(kernelFile ?? "", kernel);
    await writeFile(initrdFile ?? "", initrd);
    await writeFile(diskFile ?? "", "on the disk of the image".padEnd(1024 * 1024));
    const given = [
      "--kernel",
      kernelFile ?? "",
      "--initrd",
      initrdFile ?? "",
      "--disk",
      diskFile ?? "",
      "--format",
      "raw",
    ];
    expect(await at(1, "image", "import", "linux", ...given, "--append", linuxGuestCommandLine)).toMatchObject({
      code: 0,
    });
    const root = ["--memory", "192M", "--disk", "root,size=3G"];
    const grows = ["--vcpus-max", "2", "--memory-max", "256M"];
    expect(await at(1, "vm", "create", "linux", "--image", "linux", ...root, ...grows)).toMatchObject({ code: 0 });
    const typed = "cat /sys/block/vda/serial /sys/block/vda/size; head -c 24 /dev/vda; echo\n";
    await untilLogged("linux", linuxGuestReady);
    expect(
      await runBinary(["vm", "console", "linux", "--data-dir", `${cluster.dataRoot}/node-1`], { input: typed }),
    ).toMatchObject({ code: 0 });
    await untilLogged("linux", `root${3 * 2 * 1024 * 1024}`);
    await untilLogged("linux", "on the disk of the image");
    expect(await client.vms.get("linux")).toMatchObject({ lossPolicy: { effect: "waits" } });
  });

  it("become larger, and volumes come and go, while the VM runs", async () => {
    const { node } = await client.vms.get("linux");
    expect(await at(1, "vm", "disk", "resize", "linux", "root", "--size", "4G")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^root +4 GiB +kept +on node \d +4 GiB +-$/m),
    });
    await typed("linux", "echo now $(cat /sys/block/vda/size)", `now ${4 * 2 * 1024 * 1024}`);
    const smaller = await at(1, "vm", "disk", "resize", "linux", "root", "--size", "3G");
    expect(smaller).toMatchObject({ code: 5, stderr: expect.stringContaining("becomes no smaller") });
    const volume = (...args: string[]) => at(2, "volume", ...args);
    expect(await volume("create", "live", "--size", "1G", "--node", `${node}`)).toMatchObject({ code: 0 });
    expect(await volume("attach", "live", "linux", "--name", "extra")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^extra +volume live +kept +on node \d +1 GiB +-$/m),
    });
    await typed("linux", "echo extra is $(cat /sys/block/vdb/serial)", "extra is extra");
    expect(await volume("resize", "live", "--size", "2G")).toMatchObject({ code: 0 });
    await client.vms.waitFor(
      "linux",
      "the larger volume",
      ({ guestDisks }) => guestDisks?.disks.some(({ sizeBytes }) => sizeBytes === 2 * gibibyte) === true,
      { timeoutMs: patienceMs },
    );
    expect(await at(1, "vm", "disk", "limit", "linux", "extra", "--iops", "20", "--rate", "5M")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^extra .* 20 iops, 5 MiB\/s$/m),
    });
    expect(await at(1, "vm", "disk", "limit", "linux", "extra", "--iops", "1")).toMatchObject({ code: 64 });
    expect(await at(1, "vm", "disk", "limit", "linux", "none", "--iops", "20")).toMatchObject({ code: 5 });
    expect(await volume("delete", "live", "--yes")).toMatchObject({ code: 5 });
    expect(await volume("detach", "live")).toMatchObject({ code: 0 });
    await typed("linux", "ls /dev/vdb; echo it has left", "it has left");
    expect((await volume("list")).stdout).toMatch(/^live +ready +2 GiB +\d +- /m);
    // A guest without firmware knows of no slots: it gets the volume when it starts.
    expect(await create("cold")).toMatchObject({ code: 0 });
    const cold = await client.vms.get("cold");
    expect(await volume("create", "frost", "--size", "1G", "--node", `${cold.node}`)).toMatchObject({ code: 0 });
    const hot = await volume("attach", "frost", "cold");
    expect(hot).toMatchObject({ code: 5, stderr: expect.stringContaining("diskHotplug") });
    expect((await client.vms.get("cold")).spec).not.toHaveProperty("disks");
    expect(await at(1, "vm", "stop", "cold")).toMatchObject({ code: 0 });
    expect(await volume("attach", "frost", "cold")).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("next start"),
    });
    expect(await at(1, "vm", "start", "cold")).toMatchObject({ code: 0 });
    await client.vms.waitFor("cold", "its disk", ({ guestDisks }) => guestDisks?.disks[0]?.name === "frost", {
      timeoutMs: patienceMs,
    });
    expect(await volume("detach", "frost")).toMatchObject({ code: 5 });
    expect(await at(1, "vm", "stop", "cold")).toMatchObject({ code: 0 });
    expect(await volume("detach", "frost")).toMatchObject({ code: 0 });
    const file = async (name: string) =>
      join(cluster.dataRoot, `node-${cold.node}`, "vms", "volumes", `${(await client.volumes.get(name)).volumeId}.raw`);
    await writeFile(await file("frost"), "to be copied", { flag: "r+" });
    expect(await volume("clone", "frost", "ice", "--size", "3G")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^ice +ready +3 GiB /m),
    });
    expect(await volume("delete", "frost", "--yes")).toMatchObject({ code: 0 });
    expect(readFirst(await file("ice"), 12)).toBe("to be copied");
  });

  it("that are discs change while the VM runs, and go with it where it moves", async () => {
    for (const name of ["one", "two"]) {
      const content = new TextEncoder().encode(`the disc ${name}`);
      await writeFile(join(files, name), isoImage("DISC", [{ name: "word", content }]));
      expect(await at(1, "image", "import", name, join(files, name))).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(new RegExp(`^${name} +iso `, "m")),
      });
    }
    const root = ["--memory", "128M", "--disk", "root,size=1G,ephemeral"];
    const made = await at(1, "vm", "create", "disco", "--image", "linux", ...root, "--cdrom", "cd,image=one");
    expect(made).toMatchObject({ code: 0 });
    const before = await client.vms.get("disco");
    expect(before.lossPolicy?.effect).toBe("moves");
    const processes = instanceProcesses(before.vmId);
    const reads = (disc: string) =>
      typed(
        "disco",
        `until grep -q "the disc ${disc}" /dev/sr0; do sleep 0.2; done; echo reads ${disc}`,
        `reads ${disc}`,
      );
    await untilLogged("disco", linuxGuestReady);
    await reads("one");
    expect(await at(2, "image", "remove", "one", "--yes")).toMatchObject({
      code: 5,
      stderr: expect.stringContaining("disco"),
    });
    expect(await at(2, "vm", "set", "disco", "--cdrom", "cd,image=two")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^cdroms .* at once$/m),
    });
    await reads("two");
    expect(instanceProcesses(before.vmId)).toEqual(processes);
    const refused = await at(1, "vm", "set", "disco", "--boot-order", "cd,root");
    expect(refused).toMatchObject({ code: 64, stderr: expect.stringContaining("has a kernel") });
    const to = [1, 2, 3].find((id) => id !== before.node) ?? 0;
    expect(await at(1, "vm", "move", "disco", "--to", String(to))).toMatchObject({ code: 0 });
    expect((await client.vms.get("disco")).node).toBe(to);
    await untilLogged("disco", linuxGuestReady);
    await reads("two");
    expect((await at(1, "vm", "get", "disco")).stdout).toContain("CD-ROM drive cd: two.\n");
    expect(await at(1, "vm", "delete", "disco", "--yes")).toMatchObject({ code: 0 });
  });

  it("stay, and so does the process, when the VM gets processors and memory", async () => {
    const { vmId, startedWith } = await client.vms.get("linux");
    expect(startedWith).toMatchObject({ vcpus: 1, memoryMiB: 192 });
    const processes = instanceProcesses(vmId);
    const grown = await at(2, "vm", "set", "linux", "--vcpus", "2", "--memory", "224M");
    expect(grown).toMatchObject({ code: 0, stdout: expect.stringMatching(/^memoryMiB +192 +224 +at once$/m) });
    await client.vms.waitFor("linux", "its size", ({ startedWith: has }) => has?.vcpus === 2 && has.memoryMiB === 224, {
      timeoutMs: patienceMs,
    });
    await typed("linux", "echo has $(cat /sys/devices/system/cpu/present)", "has 0-1");
    expect((await at(2, "vm", "get", "linux")).stdout).toContain(
      "While it runs it grows to 2 vcpus and 256 MiB; it has 2 vcpus and 224 MiB.",
    );
    const beyond = await at(1, "vm", "set", "linux", "--memory", "288M", "--memory-max", "512M");
    expect(beyond).toMatchObject({ code: 0, stderr: expect.stringContaining("vm restart linux") });
    expect((await at(1, "vm", "explain", "linux")).stdout).toContain("needed for memoryMiB 288 (now 224)");
    expect(instanceProcesses(vmId)).toEqual(processes);
    const refused = await at(1, "vm", "set", "bold", "--vcpus-max", "2");
    expect(refused.stderr).toContain("a guest of a multiboot image takes no vcpus while it runs");
    expect((await client.vms.get("bold")).spec).not.toHaveProperty("vcpusMax");
    expect(await at(1, "vm", "set", "linux", "--vcpus", "3")).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("vcpusMax"),
    });
  });

  async function typed(name: string, line: string, expected: string): Promise<void> {
    const given = { input: `${line}\n` };
    const dataDir = `${cluster.dataRoot}/node-1`;
    expect(await runBinary(["vm", "console", name, "--data-dir", dataDir], given)).toMatchObject({ code: 0 });
    await untilLogged(name, expected);
  }

  async function untilLogged(name: string, text: string): Promise<void> {
    for (let tries = 0; ; tries++) {
      const { stdout } = await at(1, "vm", "logs", name);
      if (stdout.includes(text)) return;
      if (tries > 60) throw new Error(`${name} did not write ${text}, but: ${stdout}`);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
});

const present = linuxGuestNeeds.present && smallFileSystemNeeds.present;
const fullNeeds = { ...(linuxGuestNeeds.present ? smallFileSystemNeeds : linuxGuestNeeds), present };

describeWith(describe, fullNeeds)("a node whose file system is filled by a guest", () => {
  it("pauses the guest and goes on committing, and lets it go on when there is room", async () => {
    await using small = SmallFileSystem.mount(320);
    const dataDir = join(small.path, "node");
    const flags = ["--vm-driver", "qemu", "--transport", "grpc", "--stop-vms"];
    const node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir, flags });
    const run = (...args: string[]) => runBinary([...args, "--data-dir", dataDir]);
    const files = await mkdtemp(join(tmpdir(), "blixard-image-"));
    try {
      const { kernel, initrd } = linuxGuestFiles();
      await writeFile(join(files, "kernel"), kernel);
      await writeFile(join(files, "initrd"), initrd);
      const image = ["--kernel", join(files, "kernel"), "--initrd", join(files, "initrd")];
      expect(await run("image", "import", "linux", ...image, "--append", linuxGuestCommandLine)).toMatchObject({
        code: 0,
      });
      // A disk larger than the file system: somebody has allowed that.
      expect(await run("cluster", "scheduling", "--disk-overcommit", "16")).toMatchObject({ code: 0 });
      const spec = ["--image", "linux", "--memory", "128M", "--disk", "data,size=1G", "--fail-if-pending"];
      expect(await run("vm", "create", "writer", ...spec)).toMatchObject({ code: 0 });
      expect(statSync(join(dataDir, "reserve")).size).toBe(64 * 1024 * 1024);
      const seen = async (holds: (text: string) => boolean, ...args: string[]) => {
        for (let tries = 0; ; tries++) {
          const { stdout } = await run(...args);
          if (holds(stdout)) return stdout;
          if (tries > 120) throw new Error(`not seen with ${args.join(" ")}: ${stdout}`);
          await new Promise((resolve) => setTimeout(resolve, 500));
        }
      };
      await seen((text) => text.includes(linuxGuestReady), "vm", "logs", "writer");
      const command = "dd if=/dev/zero of=/dev/vda bs=1M count=300 conv=fsync; echo all is written\n";
      const typed = runBinary(["vm", "console", "writer", "--data-dir", dataDir], { input: command });
      const paused = await seen((text) => /^writer +Paused .* no-room/m.test(text), "vm", "list");
      expect(paused).toContain("no-room");
      await typed;
      expect(existsSync(join(dataDir, "reserve"))).toBe(false);
      expect((await run("vm", "explain", "writer")).stdout).toContain("Disks=false the guest is paused");
      for (let number = 0; number < 5; number++) {
        expect(await run("kv", "put", "while-full", `${number}`)).toMatchObject({ code: 0 });
      }
      small.resize(1_000);
      await seen((text) => text.includes("all is written"), "vm", "logs", "writer");
      expect(await seen((text) => /^writer +Running /m.test(text), "vm", "list")).toContain("writer");
      expect(existsSync(join(dataDir, "reserve"))).toBe(true);
      expect(node.isRunning).toBe(true);
      expect(await run("vm", "delete", "writer", "--yes")).toMatchObject({ code: 0 });
    } finally {
      await node.stop("SIGTERM");
      await rm(files, { recursive: true, force: true });
    }
  }, 900_000);
});
