import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, readlink, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterAll, describe, expect, it } from "@jest/globals";
import { EmbeddedDriver } from "../embedded/embedded-driver.ts";
import { QemuDriver } from "../qemu/qemu-driver.ts";
import { rawDiskImage } from "../testing/boot-sector.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { VmHarness, type VmHarnessOptions } from "../testing/vm-harness.ts";
import { ControlGroups, parseMounts } from "./control-groups.ts";
import { HostConfinement } from "./host-confinement.ts";
import { findProgram, launchCommand, unconfined } from "./launcher.ts";
import { VmUsers } from "./vm-users.ts";

afterAll(removeTemporaryDirectories);
afterAll(async () => {
  for (const mount of ["", "memory", "pids", "cpu", "cpu,cpuacct", "unified"]) {
    await rmdir(join("/sys/fs/cgroup", mount, controlGroup)).catch(() => {});
  }
});

const execFileAsync = promisify(execFile);
const controlGroup = `/blixard-test-${process.pid}`;
const isRoot = process.geteuid?.() === 0;
const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install -y qemu-system-x86 qemu-utils",
};

/** What the kernel says of a process. */
async function factsOf(pid: number) {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(status)?.[1];
  const files: string[] = [];
  for (const name of await readdir(`/proc/${pid}/fd`)) {
    files.push(await readlink(`/proc/${pid}/fd/${name}`).catch(() => ""));
  }
  return {
    uid: Number(field("Uid")),
    gid: Number(field("Gid")),
    groups: /^Groups:[ \t]*(.*)$/m.exec(status)?.[1]?.trim(),
    capabilities: [field("CapPrm"), field("CapEff"), field("CapBnd"), field("CapInh"), field("CapAmb")],
    noNewPrivileges: field("NoNewPrivs"),
    controlGroups: await readFile(`/proc/${pid}/cgroup`, "utf8"),
    /** Files of the file system, without devices. */
    files: files.filter((path) => path.startsWith("/") && !path.startsWith("/dev/")),
  };
}

describe("launchCommand", () => {
  it("leaves a program the descriptors that it was given, and none above", async () => {
    const file = await open("/proc/self/status");
    const many = Array.from({ length: 20 }, () => file.fd);
    const launch = launchCommand({ program: "ls", arguments: ["/proc/self/fd"] }, unconfined, 4);
    const child = spawn(launch.program, launch.arguments, { stdio: ["ignore", "pipe", "inherit", ...many] });
    let text = "";
    child.stdout?.on("data", (data: Buffer) => {
      text += data.toString();
    });
    await once(child, "close");
    await file.close();
    // The one after the last is where `ls` reads the directory.
    expect(text.trim().split("\n").map(Number)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("runs nothing that a start-up file or the environment names", async () => {
    const home = await temporaryDirectory();
    await writeFile(join(home, ".bashrc"), "echo from the start-up file");
    await writeFile(join(home, "env"), "echo from the environment");
    const launch = launchCommand({ program: "echo", arguments: ["the program"] });
    const env = { PATH: process.env["PATH"], HOME: home, BASH_ENV: join(home, "env") };
    // Its input is a socket, with which bash takes itself for started from afar.
    const { stdout } = await execFileAsync(launch.program, [...launch.arguments], { env });
    expect(stdout).toBe("the program\n");
  });
});

describe("VmUsers", () => {
  it("gives the same VM the same user, no two VMs one, and says when there are no more", async () => {
    const range = { first: 1_999_999_000, last: 1_999_999_002 };
    const users = new VmUsers(range, [["old", 1_999_999_001]]);
    const a = await users.assign("a");
    const b = await users.assign("b");
    expect(new Set([a, b, 1_999_999_001]).size).toBe(3);
    expect(await users.assign("a")).toBe(a);
    expect(await users.assign("old")).toBe(1_999_999_001);
    await expect(users.assign("c")).rejects.toMatchObject({ code: "VM_DRIVER_FAILED" });
    users.forget("b");
    expect(await users.assign("c")).toBe(b);
    expect(await new VmUsers({ first: 1_900_000_000, last: 1_999_999_999 }, []).assign("a")).toBe(
      await new VmUsers({ first: 1_900_000_000, last: 1_999_999_999 }, []).assign("a"),
    );
  });
});

describe("parseMounts", () => {
  it("finds both versions, the first one first", () => {
    const text = [
      "40 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
      "34 30 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory",
      "30 22 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755",
      "",
    ].join("\n");
    expect(parseMounts(text)).toEqual([
      { version: 1, mountPoint: "/sys/fs/cgroup/memory", options: ["rw", "memory"] },
      { version: 2, mountPoint: "/sys/fs/cgroup/unified", options: ["rw"] },
    ]);
  });
});

describe("ControlGroups", () => {
  it("passes the controllers of v2 on to the group of a VM, where v1 does not have them, and sets the limits", async () => {
    const root = await temporaryDirectory();
    const v1 = join(root, "memory");
    const v2 = join(root, "unified");
    await mkdir(join(v2, "vms"), { recursive: true });
    await writeFile(
      join(root, "mounts"),
      [`40 30 0:37 / ${v2} rw - cgroup2 cgroup2 rw`, `34 30 0:31 / ${v1} rw - cgroup cgroup rw,memory`].join("\n"),
    );
    await writeFile(join(v2, "cgroup.controllers"), "cpu io memory pids\n");
    await writeFile(join(v2, "cgroup.subtree_control"), "pids\n");
    await writeFile(join(v2, "vms/cgroup.subtree_control"), "\n");
    const groups = await ControlGroups.find("/vms", join(root, "mounts"));
    expect(groups?.missing).toEqual([]);
    const directories = await groups?.make("vm-1", { memoryBytes: 5_000_000, threads: 9, vcpus: 2 });
    expect(directories).toEqual([join(v1, "vms/vm-1"), join(v2, "vms/vm-1")]);
    const text = async (path: string) => await readFile(path, "utf8");
    expect(await text(join(v1, "vms/vm-1/memory.limit_in_bytes"))).toBe("5000000");
    expect(await text(join(v2, "cgroup.subtree_control"))).toBe("+cpu");
    expect(await text(join(v2, "vms/cgroup.subtree_control"))).toBe("+pids +cpu");
    expect(await text(join(v2, "vms/vm-1/pids.max"))).toBe("9");
    expect(await text(join(v2, "vms/vm-1/cpu.weight"))).toBe("200");
    expect(await readdir(join(v2, "vms/vm-1"))).not.toContain("memory.max");
  });
});

describe("HostConfinement", () => {
  it("says which wall is missing, and what it would have stopped", async () => {
    const host = await HostConfinement.probe(systemClock, { users: "off", controlGroup: "off" });
    expect(host.report.missing.map(({ wall }) => wall)).toEqual(["user", "control groups"]);
    for (const { reason, matters, hint } of host.report.missing) {
      expect([reason, matters, hint].every((text) => text.length > 0)).toBe(true);
    }
  });
});

const drivers = {
  qemu: () => new QemuDriver({ clock: systemClock }),
  embedded: () => new EmbeddedDriver({ clock: systemClock }),
};

/** The walls of a running VM, and that each of them is there. */
async function expectWalls(harness: VmHarness, pid: number) {
  expect(harness.manager.confinement.missing).toEqual([]);
  const facts = await factsOf(pid);
  expect(facts.uid).toBeGreaterThanOrEqual(2_000_000_000);
  expect(facts).toMatchObject({ gid: facts.uid, groups: "", noNewPrivileges: "1" });
  expect(facts.capabilities).toEqual(Array.from({ length: 5 }, () => "0000000000000000"));
  const directory = join(harness.dataDir, "instances", harness.vmId);
  expect(facts.files.filter((path) => !path.startsWith(`${directory}/`))).toEqual([]);
  expect(facts.controlGroups).toContain(`${controlGroup}/vm-`);
  return facts;
}

async function limitsIn(pid: number): Promise<Record<string, string>> {
  const limits: Record<string, string> = {};
  for (const [mount, file] of [
    ["memory", "memory.limit_in_bytes"],
    ["pids", "pids.max"],
    ["unified", "memory.max"],
    ["", "memory.max"],
  ] as const) {
    for (const line of (await readFile(`/proc/${pid}/cgroup`, "utf8")).trim().split("\n")) {
      const group = line.split(":")[2] ?? "";
      const text = await readFile(join("/sys/fs/cgroup", mount, group, file), "utf8").catch(() => undefined);
      if (text !== undefined && group.startsWith(controlGroup)) limits[file] = text.trim();
    }
  }
  return limits;
}

function wallCases(name: keyof typeof drivers): void {
  const options: VmHarnessOptions = { drivers: [drivers[name]()], confinement: { controlGroup } };
  it("has a user, a control group and no privileges, keeps them over an adoption, and leaves no group", async () => {
    await using harness = await VmHarness.open(options);
    harness.want();
    await harness.untilReady();
    const pid = await harness.process();
    const before = await expectWalls(harness, pid);
    const limits = await limitsIn(pid);
    expect(Number(limits["memory.limit_in_bytes"] ?? limits["memory.max"])).toBe((16 + 512) * 1024 * 1024);
    await harness.reopen();
    harness.want();
    await harness.type("good morning");
    await harness.untilConsole("echo: good morning\n");
    expect(await expectWalls(harness, await harness.process())).toEqual(before);
    harness.want({ fencingEpoch: 2 });
    await harness.untilReady(2);
    const again = await expectWalls(harness, await harness.process());
    expect(again.uid).toBe(before.uid);
    const groups = await groupsOf(harness);
    expect(groups.length).toBeGreaterThan(0);
    process.kill(await harness.process(), "SIGKILL");
    await harness.until("started again", (seen) => seen.restarts === 1 && seen.guest === "ready");
    await expectWalls(harness, await harness.process());
    harness.want({ desired: "deleted", fencingEpoch: 2 });
    await harness.untilPhase("Deleted");
    expect(groups.filter((path) => existsSync(path))).toEqual([]);
  });
}

async function groupsOf(harness: VmHarness): Promise<readonly string[]> {
  const record = join(harness.dataDir, "instances", harness.vmId, "instance.json");
  const { confinement } = JSON.parse(await readFile(record, "utf8")) as {
    readonly confinement: { readonly controlGroups: readonly string[] };
  };
  return confinement.controlGroups;
}

const describeRoot = isRoot ? describe : describe.skip;

describeRoot("EmbeddedDriver behind walls (as root)", () => wallCases("embedded"));

describeWith(describeRoot as typeof describe, qemu)("QemuDriver behind walls (as root)", () => {
  wallCases("qemu");

  it("leaves a VM the memory that it gets while it runs", async () => {
    await using harness = await VmHarness.open({ drivers: [drivers.qemu()], confinement: { controlGroup } });
    const image = await rawDiskImage(harness.manager);
    const wish = (memoryMiB: number) => ({ image, spec: { memoryMiB, memoryMiBMax: 128 } });
    harness.want(wish(16));
    await harness.untilPhase("Running");
    harness.want(wish(64));
    const pid = await harness.process();
    const limitMiB = async () => {
      const limits = await limitsIn(pid);
      return Number(limits["memory.limit_in_bytes"] ?? limits["memory.max"]) / 1024 / 1024;
    };
    for (let tries = 0; (await limitMiB()) === 16 + 512 && tries < 1_000; tries++) await sleep(systemClock, 10);
    expect(await limitMiB()).toBe(64 + 512);
  });

  it("lets no guest's process reach the disk, console or control socket of another, nor write an image", async () => {
    await using one = await VmHarness.open({ drivers: [drivers.qemu()], confinement: { controlGroup } });
    const image = await rawDiskImage(one.manager);
    const other = "11111111-2222-4333-8444-555555555555";
    one.manager.setDesired([one.wish(), { ...one.wish({ image }), vmId: other, name: "other" }]);
    await one.untilReady();
    await one.manager.observations.until((all) => all.get(other)?.phase === "Running");
    const { uid } = await factsOf(await one.process());
    const directory = join(one.dataDir, "instances", one.vmId);
    const asGuest = async (text: string) => {
      const setpriv = findProgram("setpriv");
      const launch = launchCommand({ program: "sh", arguments: ["-c", text] }, { ...unconfined, setpriv, uid });
      return await execFileAsync(launch.program, [...launch.arguments], { cwd: directory }).then(
        () => "done",
        () => "refused",
      );
    };
    expect(await asGuest("cat kernel console.log")).toBe("done");
    expect(await asGuest("echo >> kernel")).toBe("refused");
    expect(await asGuest("chmod 777 kernel")).toBe("refused");
    expect(await asGuest("touch new")).toBe("refused");
    expect(await asGuest("mv console.log old")).toBe("refused");
    const sockets = await readdir(join(one.dataDir, "run"));
    const foreign = [
      ...["disk.raw", "console.log", "stderr.log"].map((name) => join("..", other, name)),
      ...["disk.raw", "console.log"].map((name) => join(one.dataDir, "instances", other, name)),
      ...sockets.map((name) => join(one.dataDir, "run", name)),
    ];
    for (const path of foreign) expect([path, await asGuest(`test -e ${path}`)]).toEqual([path, "refused"]);
    // Control and console of both; a machine with passt has more, for their networks.
    expect(sockets.length).toBeGreaterThanOrEqual(4);
  });
});
