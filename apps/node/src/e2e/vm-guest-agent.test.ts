/** A real Debian that was told something by cloud-init and has an agent, from the command line. One boot for all. */
import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import type { BlixardClient } from "@blixard/client";
import type { VmRecord } from "@blixard/protocol";
import { instanceProcesses, ProcessCluster } from "@blixard/testing";
import {
  debianGuest,
  debianGuestCommandLine,
  debianGuestMemoryMiB,
  debianGuestNeeds,
  describeWith,
} from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { freePorts } from "./free-ports.ts";
import { runBinary } from "./run-binary.ts";

const buildMs = 900_000;
const patienceMs = 400_000;
/** Linux sets 64 MiB aside in a VM that grows. */
const memoryMiB = debianGuestMemoryMiB + 64;
const secret = "hunter2 </script>";

const userData = `#cloud-config
write_files:
  - path: /srv/told
    content: "${secret}\\u0007"
bootcmd:
  - [sh, -c, "echo done > /srv/booted"]
`;

describeWith(describe, debianGuestNeeds)("a Debian guest", () => {
  let cluster: ProcessCluster;
  let client: BlixardClient;
  let files: string;
  let port: string;
  let vm: VmRecord;

  const at = (...args: string[]) => {
    const dashes = args.includes("--") ? args.indexOf("--") : args.length;
    const here = ["--data-dir", join(cluster.dataRoot, "node-1")];
    return runBinary([...args.slice(0, dashes), ...here, ...args.slice(dashes)], { timeoutMs: patienceMs });
  };

  beforeAll(async () => {
    const image = await debianGuest(resolve("node_modules/.cache/blixard"));
    files = await mkdtemp(join(tmpdir(), "blixard-guest-"));
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(files, "key")]);
    await writeFile(join(files, "user-data"), userData);
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: ["--vm-driver", "qemu"], nodes: 1 });
    client = cluster.client();
    const parts = ["--kernel", image.kernel, "--initrd", image.initrd, "--disk", image.disk];
    expect(await at("image", "import", "debian", ...parts, "--append", debianGuestCommandLine)).toMatchObject({
      code: 0,
    });
    port = (await freePorts(1))[0]?.split(":")[1] ?? "";
    const told = ["--user-data", join(files, "user-data"), "--ssh-key", join(files, "key.pub")];
    const most = ["--vcpus-max", "2", "--memory-max", `${memoryMiB + 256}M`];
    const memory = ["--memory", `${memoryMiB}M`, ...most, "--disk", "root"];
    const created = await at("vm", "create", "web", "--image", "debian", ...memory, ...told, "--forward", `${port}:22`);
    expect(created).toMatchObject({ code: 0 });
    vm = await client.vms.waitFor("web", "an address", ({ agent }) => (agent?.addresses.length ?? 0) > 0, {
      timeoutMs: patienceMs,
    });
  }, buildMs + patienceMs);

  afterAll(async () => {
    client.close();
    await cluster.close();
    for (const pid of instanceProcesses(vm?.vmId ?? "")) process.kill(pid, "SIGKILL");
    await rm(files, { recursive: true, force: true });
  });

  it("says its address, which is shown as its own word", async () => {
    expect(vm.agent?.addresses).toContainEqual(expect.objectContaining({ address: "10.0.2.15" }));
    const { stdout } = await at("vm", "get", "web");
    expect(stdout).toMatch(/agent in the guest answers, and says that it has .*10\.0\.2\.15/);
  });

  it("was told its user data, which nobody else is shown", async () => {
    const told = await at("vm", "exec", "web", "--", "/bin/cat", "/srv/told", "/srv/booted");
    expect(told).toEqual({ code: 0, stdout: `${secret}\u0007done\n`, stderr: "" });
    const shown = [await at("vm", "get", "web", "-o", "json"), await at("vm", "explain", "web", "-o", "json")];
    expect(shown[0]?.stdout).toContain(`(sealed, ${userData.length} bytes)`);
    expect(JSON.stringify(shown)).not.toContain("hunter2");
    expect(cluster.diagnostics()).not.toContain("hunter2");
  });

  it("runs a program with its input, and ends as that does", async () => {
    const run = (...argv: string[]) => at("vm", "exec", "web", "--", ...argv);
    expect(await run("/bin/hostname")).toMatchObject({ code: 0, stdout: "web\n" });
    expect(await run("/bin/sh", "-c", "echo out; echo err >&2; exit 7")).toEqual({
      code: 7,
      stdout: "out\n",
      stderr: "err\n",
    });
    const args = ["vm", "exec", "web", "-i", "--data-dir", join(cluster.dataRoot, "node-1"), "--", "/usr/bin/wc", "-c"];
    expect(await runBinary(args, { input: "x".repeat(5_000) })).toMatchObject({ code: 0, stdout: "5000\n" });
    const much = await run("/bin/sh", "-c", "head -c 300000 /dev/zero | tr '\\\\0' x");
    expect(much).toMatchObject({ code: 0, stderr: expect.stringContaining("only the first") });
    expect(much.stdout).toHaveLength(128 * 1024);
    const late = ["vm", "exec", "web", "--deadline", "3s", "--", "/bin/sh", "-c", "echo x >> /srv/runs; sleep 60"];
    expect(await at(...late)).toMatchObject({ code: 124 });
    // Nothing was tried again.
    expect(await run("/bin/cat", "/srv/runs")).toMatchObject({ code: 0, stdout: "x\n" });
    expect(await run("/bin/not-there")).toMatchObject({ code: 5, stderr: expect.stringContaining("not-there") });
  });

  it("is asked by its agent how it does, by checks that it got while it ran", async () => {
    const settings = "interval=500ms,timeout=5s,failures=1,grace=1ms,recovery=none";
    const checks = ["--health", `agent,${settings}`, "--health", `exec:/usr/bin/test -e /srv/ready,${settings}`];
    expect(await at("vm", "set", "web", ...checks)).toMatchObject({ code: 0, stderr: "" });
    const health = (record: VmRecord) => record.conditions.find(({ type }) => type === "Health");
    const ill = await client.vms.waitFor("web", "a failed check", (seen) => health(seen)?.reason === "CheckFailed", {
      timeoutMs: patienceMs,
    });
    expect(health(ill)?.message).toMatch(
      /^exec "\/usr\/bin\/test -e \/srv\/ready" failed 1 times .*: it ended with 1$/,
    );
    await at("vm", "exec", "web", "--", "/usr/bin/touch", "/srv/ready");
    await client.vms.waitFor("web", "healthy", (seen) => health(seen) === undefined, { timeoutMs: patienceMs });
    expect(await at("vm", "set", "web", "--unset", "health")).toMatchObject({ code: 0 });
    expect((await client.vms.get("web")).restarts).toBe(0);
  });

  it("takes and gives files, whole", async () => {
    const bytes = Buffer.alloc(150_000, "0123456789abc\u0000");
    await writeFile(join(files, "up"), bytes);
    expect(await at("vm", "file", "push", "web", join(files, "up"), "/srv/up")).toMatchObject({ code: 0 });
    expect(await at("vm", "file", "pull", "web", "/srv/up", join(files, "down"))).toMatchObject({ code: 0 });
    expect((await readFile(join(files, "down"))).equals(bytes)).toBe(true);
    expect(await at("vm", "file", "pull", "web", "/srv/not-there")).toMatchObject({ code: 5 });
  });

  it("uses the processors and the memory that it gets, since its agent has it do so", async () => {
    const run = (text: string) => at("vm", "exec", "web", "--deadline", "2m", "--", "/bin/sh", "-c", text);
    const total = "awk '/MemTotal/ {print int($2/1024)}' /proc/meminfo";
    const before = await run(`nproc; ${total}`);
    const [vcpus, mebibytes] = before.stdout.trim().split("\n").map(Number);
    expect(vcpus).toBe(1);
    expect(await at("vm", "set", "web", "--vcpus", "2", "--memory", `${memoryMiB + 256}M`)).toMatchObject({ code: 0 });
    const hasAll = `[ $(nproc) = 2 ] && [ $(${total}) -ge ${(mebibytes ?? 0) + 240} ]`;
    expect(await run(`until ${hasAll}; do sleep 1; done; echo all`)).toMatchObject({ code: 0, stdout: "all\n" });
    const { ends = [], ...grown } = await client.vms.get("web");
    expect(ends).toEqual([]);
    expect(grown).toMatchObject({
      restarts: 0,
      startedWith: { vcpus: 2, memoryMiB: memoryMiB + 256 },
    });
  });

  it(
    "lets its user in by SSH, through the forwarded port and without one",
    async () => {
      const untilActive = "until systemctl is-active ssh; do sleep 1; done";
      const active = await at("vm", "exec", "web", "--deadline", "2m", "--", "/bin/sh", "-c", untilActive);
      expect(active).toMatchObject({ code: 0 });
      const options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "BatchMode=yes",
        "ConnectTimeout=60",
      ];
      const ssh = ["-i", join(files, "key"), "-p", port, ...options.flatMap((option) => ["-o", option])];
      const { stdout } = await promisify(execFile)("ssh", [...ssh, "debian@127.0.0.1", "id", "-un"]);
      expect(stdout).toBe("debian\n");
      // The key of its host is known by the id of the VM, and by nothing that may be another machine's.
      const known = join(files, "known_hosts");
      const kept = [
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        `UserKnownHostsFile=${known}`,
        "-o",
        "BatchMode=yes",
      ];
      const through = [...kept, "-o", "HashKnownHosts=no", "-i", join(files, "key")];
      const said = await at("vm", "ssh", "web", "-l", "debian", "--", ...through, "id -un; exit 7");
      expect(said).toMatchObject({ code: 7, stdout: "debian\n" });
      expect((await readFile(known, "utf8")).split(" ")[0]).toBe(vm.vmId);
    },
    patienceMs,
  );

  it(
    "has its file systems whole in a snapshot of a volume, and writes on",
    async () => {
      const run = (text: string) => at("vm", "exec", "web", "--deadline", "3m", "--", "/bin/sh", "-c", text);
      expect(await at("volume", "create", "data", "--size", "1G")).toMatchObject({ code: 0 });
      expect(await at("volume", "attach", "data", "web")).toMatchObject({ code: 0 });
      const device = "/dev/disk/by-id/virtio-data";
      const mounts = `until [ -e ${device} ]; do sleep 0.2; done; mke2fs -q -t ext4 ${device} && mount ${device} /mnt`;
      expect(await run(`${mounts} && echo kept > /mnt/word`)).toMatchObject({ code: 0 });
      const made = await at("volume", "snapshot", "create", "data", "whole");
      expect(made).toMatchObject({ code: 0 });
      expect(await run("echo later > /mnt/word && sync && cat /mnt/word")).toMatchObject({
        code: 0,
        stdout: "later\n",
      });
      expect((await at("volume", "snapshot", "list", "data")).stdout).toMatch(/whole +ready +1 GiB +frozen/);
      const { volumeId, snapshots = [] } = await client.volumes.get("data");
      const volumes = join(cluster.dataRoot, "node-1", "vms", "volumes");
      const file = join(volumes, `${volumeId}.${snapshots[0]?.snapshotId}.raw`);
      const look = async (path: string) => {
        const { stdout: head } = await promisify(execFile)("dumpe2fs", ["-h", path]);
        const { stdout: word } = await promisify(execFile)("debugfs", ["-R", "cat /word", path]);
        return { isWhole: !head.includes("needs_recovery"), word };
      };
      expect(await look(file)).toEqual({ isWhole: true, word: "kept\n" });
      // What the guest has mounted is not.
      expect(await look(join(volumes, `${volumeId}.raw`))).toMatchObject({ isWhole: false });
      expect(await run("umount /mnt")).toMatchObject({ code: 0 });
      expect(await at("volume", "detach", "data")).toMatchObject({ code: 0 });
    },
    patienceMs,
  );

  it(
    "powers off when its agent is asked to, and its seed is gone",
    async () => {
      const seed = join(cluster.dataRoot, "node-1", "vms", "instances", vm.vmId, "seed.iso");
      expect((await readFile(seed)).includes("hunter2")).toBe(true);
      expect(await at("vm", "stop", "web")).toMatchObject({ code: 0 });
      expect((await client.vms.get("web")).ends?.at(-1)).toMatchObject({ stoppedBy: "agent" });
      await expect(readFile(seed)).rejects.toMatchObject({ code: "ENOENT" });
    },
    patienceMs,
  );
});
