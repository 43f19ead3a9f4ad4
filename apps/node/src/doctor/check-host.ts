/** What this machine gives a node: versions, limits, disk, virtualisation, time. */
import { access, constants, mkdtemp, open, readFile, rm, stat, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Clock, reasonOf } from "@blixard/common";
import { confinementOf, type NodeConfig } from "@blixard/server/settings";
import { blixardVersion } from "@blixard/server/version";
import { HostConfinement } from "@blixard/vm-manager/confinement";
import { whyNoNetworks } from "@blixard/vm-manager/network";
import { QemuDriver } from "@blixard/vm-manager/qemu";
import { type Finding, notOk, ok } from "./finding.ts";

const nodeMajorMin = 20;
const nodeMinorMin = 19;
const openFilesMin = 1_024;
const openFilesGood = 8_192;
const freeBytesMin = 256 * 1024 ** 2;
const freeBytesGood = 2 * 1024 ** 3;
const fsyncWrites = 40;
const fsyncBytes = 4_096;
const slowFsyncMs = 50;

export function checkVersions(): Finding[] {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const fits = major > nodeMajorMin || (major === nodeMajorMin && minor >= nodeMinorMin);
  const needed = `Node.js ${nodeMajorMin}.${nodeMinorMin} or later`;
  const node = `${process.versions.node} on ${process.platform}-${process.arch}`;
  return [
    ok("blixard", blixardVersion),
    fits ? ok("Node.js", node) : notOk("Node.js", "fail", node, `install ${needed}`),
  ];
}

export async function checkOpenFiles(): Promise<Finding> {
  const check = "open files";
  const limits = await readFile("/proc/self/limits", "utf8").catch(() => "");
  const text = /^Max open files\s+(\S+)/m.exec(limits)?.[1];
  if (text === undefined) return notOk(check, "unknown", "this system does not tell the limit", "see: ulimit -n");
  const limit = text === "unlimited" ? Number.POSITIVE_INFINITY : Number(text);
  const next = "raise it: ulimit -n 65536, or LimitNOFILE= of the service";
  if (limit < openFilesMin) return notOk(check, "fail", `at most ${text}; ${openFilesMin} are needed`, next);
  return limit < openFilesGood
    ? notOk(check, "warn", `at most ${text}; VMs and peers need some each`, next)
    : ok(check, text);
}

/** The directory itself, or the nearest one above it that exists: where the data would go. */
async function existing(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined);
    if (found?.isDirectory() || dirname(at) === at) return at;
  }
}

export async function checkDisk(dataDir: string, electionTimeoutMs: number, clock: Clock): Promise<Finding[]> {
  const directory = await existing(dataDir);
  const where = directory === dataDir ? directory : `${directory} (${dataDir} does not exist yet)`;
  return [await checkSpace(directory, where), await checkFsync(directory, where, electionTimeoutMs, clock)];
}

async function checkSpace(directory: string, where: string): Promise<Finding> {
  const check = "free space";
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  const detail = `${(free / 1024 ** 3).toFixed(1)} GiB in ${where}`;
  const next = "free some space, or choose another disk with --data-dir; a full disk stops the node";
  if (free < freeBytesMin) return notOk(check, "fail", detail, next);
  return free < freeBytesGood ? notOk(check, "warn", detail, next) : ok(check, detail);
}

/** Appends that are made durable one after the other, as the log does it. */
async function checkFsync(directory: string, where: string, electionTimeoutMs: number, clock: Clock): Promise<Finding> {
  const check = "disk fsync";
  let probe: string;
  try {
    probe = await mkdtemp(join(directory, ".blixard-doctor-"));
  } catch (error) {
    return notOk(
      check,
      "fail",
      `nothing can be written in ${where}: ${reasonOf(error)}`,
      "give --data-dir a directory of this user",
    );
  }
  try {
    const file = await open(join(probe, "fsync"), "a");
    const block = new Uint8Array(fsyncBytes).fill(7);
    const times: number[] = [];
    for (let write = 0; write < fsyncWrites; write++) {
      const startMs = clock.monotonicMs();
      await file.write(block);
      await file.datasync();
      times.push(clock.monotonicMs() - startMs);
    }
    await file.close();
    times.sort((a, b) => a - b);
    const p50 = times[Math.floor(fsyncWrites / 2)] ?? 0;
    const worst = times[fsyncWrites - 1] ?? 0;
    const detail = `p50 ${p50.toFixed(2)} ms, longest ${worst.toFixed(1)} ms of ${fsyncWrites} in ${where}`;
    const next = "move --data-dir to a faster disk, or find out what else writes to this one";
    if (worst > electionTimeoutMs) return notOk(check, "fail", `${detail}; longer than the election timeout`, next);
    return p50 > slowFsyncMs ? notOk(check, "warn", `${detail}; every write waits for this`, next) : ok(check, detail);
  } catch (error) {
    return notOk(check, "fail", `${where}: ${reasonOf(error)}`, "look at the disk and its log (dmesg)");
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}

/** QEMU, and whether KVM works under it. Without either there is the embedded driver, for small images. */
export async function checkVirtualisation(wanted: NodeConfig["vmDriver"], clock: Clock): Promise<Finding[]> {
  const cacheDirectory = await mkdtemp(join(tmpdir(), "blixard-doctor-"));
  try {
    const driver = new QemuDriver({ clock }, { cacheDirectory });
    const probe = await driver.probe();
    const missing = wanted === "qemu" ? "fail" : "warn";
    if (!probe.works) {
      const detail = `${probe.reason}; small VMs run with the embedded driver`;
      const device = await access("/dev/kvm", constants.R_OK | constants.W_OK).then(
        () => "/dev/kvm can be opened",
        (error) => reasonOf(error),
      );
      const untried = notOk("KVM", "unknown", `${device}; whether it works cannot be tried without QEMU`);
      return [notOk("QEMU", missing, detail, probe.hint), untried];
    }
    const kvm = probe.kinds.includes("qemu-kvm");
    const reason = probe.notes.join("; ") || "KVM is not used";
    const next = "switch on virtualisation in the firmware, load kvm_intel or kvm_amd, and let this user open /dev/kvm";
    return [
      ok("QEMU", probe.version),
      kvm ? ok("KVM", "works") : notOk("KVM", "warn", `${reason}; VMs run by translation, slowly`, next),
    ];
  } finally {
    await rm(cacheDirectory, { recursive: true, force: true });
  }
}

/** The walls that a node of this user could put around the processes of its VMs. They are tried with a short process. */
export async function checkVmProcesses(config: NodeConfig, clock: Clock): Promise<Finding[]> {
  const check = "VM processes";
  const { report } = await HostConfinement.probe(clock, confinementOf(config));
  const walls = report.walls.length === 0 ? "nothing" : report.walls.join("; ");
  return [
    ok(check, `each has: ${walls}`),
    ...report.missing.map(({ wall, reason, matters, hint }) =>
      notOk(`${check}: ${wall}`, "warn", `${reason}; ${matters}`, hint),
    ),
  ];
}

/** What the network `user` of VMs needs. It is tried with a process that stands for a guest. */
export async function checkVmNetworks(clock: Clock): Promise<Finding> {
  const check = "VM networks";
  const missing = await whyNoNetworks(clock);
  if (missing === undefined) return ok(check, "user, through passt");
  return notOk(check, "warn", `${missing.reason}; VMs run without a network card`, missing.hint);
}

/** Whether time only goes forward, and the wall clock goes at the same speed as the other one. */
export async function checkClock(clock: Clock): Promise<Finding> {
  const check = "clock";
  const watchMs = 250;
  const skewMsMax = 50;
  const start = { monotonicMs: clock.monotonicMs(), unixMs: clock.unixMs() };
  let last = start.monotonicMs;
  let backwards = 0;
  while (clock.monotonicMs() - start.monotonicMs < watchMs) {
    const now = clock.monotonicMs();
    if (now < last) backwards++;
    last = now;
    await new Promise<void>((tick) => clock.setTimer(1, tick));
  }
  const drift = clock.unixMs() - start.unixMs - (clock.monotonicMs() - start.monotonicMs);
  const next = "let one service set the time (chrony or systemd-timesyncd), and look at the host of this machine";
  if (backwards > 0) return notOk(check, "fail", `the monotonic clock went back ${backwards} times`, next);
  if (Math.abs(drift) > skewMsMax) {
    return notOk(check, "warn", `the wall clock was moved by ${drift.toFixed(0)} ms within ${watchMs} ms`, next);
  }
  return ok(check, `monotonic; wall clock ${new Date(clock.unixMs()).toISOString()}`);
}
