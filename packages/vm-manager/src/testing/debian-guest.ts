/**
 * A real Debian for tests, with cloud-init, an agent and an SSH server, built by mmdebstrap from the sources of packages of
 * this machine as they stand. A build takes minutes, so it is kept by the versions of its packages.
 *
 * What is left out, since tests run without KVM: the stages `config` and `final` of cloud-init, each of which starts Python
 * again. User data does its work by `write_files`, `bootcmd` and `users`, not by `runcmd` or `packages`.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chmod, copyFile, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { findProgram } from "../confinement/launcher.ts";
import type { RequiredComponent } from "./required-component.ts";

const execFileAsync = promisify(execFile);

const packages = [
  ...["systemd-sysv", "udev", "dbus", "iproute2", "netbase"],
  ...["cloud-init", "qemu-guest-agent", "openssh-server", "linux-image-cloud-amd64", "initramfs-tools"],
];
const programs = ["qemu-system-x86_64", "mmdebstrap", "mke2fs", "ssh", "ssh-keygen"];

export const debianGuestNeeds: RequiredComponent = {
  name: "what a Debian guest is built and reached with",
  present: programs.every((program) => findProgram(program) !== undefined),
  install: "apt-get install -y qemu-system-x86 qemu-utils mmdebstrap e2fsprogs openssh-client",
};

export interface DebianGuest {
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
}

export const debianGuestCommandLine = "console=ttyS0 root=/dev/vda rw quiet panic=-1";
export const debianGuestMemoryMiB = 384;
/** Room for what tests write into it, in a file with holes. */
const diskSize = "1G";

/** Only the drivers that the guest has devices for. */
const initrdHook = `#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk ext4
`;

const cloudConfig = `datasource_list: [NoCloud]
cloud_init_modules: [bootcmd, write-files, set_hostname, update_hostname, users-groups, ssh]
ssh_genkeytypes: [ed25519]
no_ssh_fingerprints: true
ssh_quiet_keygen: true
`;

/** Not started: they take time, and do nothing that is tested. */
const maskedUnits = [
  ...["cloud-config.service", "cloud-final.service", "getty@tty1.service", "e2scrub_reap.service"],
  ...["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"],
];

/** What brings up the network that cloud-init describes. */
const startedUnits = ["systemd-networkd.service"];

/** Of the file system of the guest. */
const leftOut = [
  ...["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"],
  ...["infiniband", "gpu", "scsi", "net/ethernet"].map((drivers) => `/lib/modules/*/kernel/drivers/${drivers}/*`),
];

/** The files of the guest, which are read-only for tests. `cache` is a directory for builds. */
export async function debianGuest(cache: string): Promise<DebianGuest> {
  await execFileAsync("apt-get", ["update", "-qq"]).catch(() => {});
  const { stdout: versions } = await execFileAsync("apt-cache", ["policy", ...packages]);
  const key = createHash("sha256")
    .update(JSON.stringify([versions, packages, initrdHook, cloudConfig, maskedUnits, startedUnits, leftOut, diskSize]))
    .digest("hex")
    .slice(0, 16);
  const directory = join(cache, `debian-guest-${key}`);
  if (!existsSync(directory)) await build(directory);
  return {
    kernel: join(directory, "vmlinuz"),
    initrd: join(directory, "initrd"),
    disk: join(directory, "disk.raw"),
  };
}

/** Under another name until it is whole. */
async function build(directory: string): Promise<void> {
  const draft = `${directory}.${process.pid}`;
  const root = join(draft, "root");
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { recursive: true });
  try {
    await installPackages(draft, root);
    await settle(root);
    const boot = join(root, "boot");
    for (const name of await readdir(boot)) {
      if (name.startsWith("vmlinuz-")) await copyFile(join(boot, name), join(draft, "vmlinuz"));
      if (name.startsWith("initrd.img-")) await copyFile(join(boot, name), join(draft, "initrd"));
    }
    for (const spare of ["boot", "var/cache/apt", "var/lib/apt/lists"]) {
      await rm(join(root, spare), { recursive: true, force: true });
    }
    await execFileAsync("mke2fs", ["-q", "-t", "ext4", "-d", root, join(draft, "disk.raw"), diskSize]);
    await rm(root, { recursive: true, force: true });
    await rename(draft, directory);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

async function installPackages(draft: string, root: string): Promise<void> {
  const hook = join(draft, "initrd-hook");
  await writeFile(hook, initrdHook);
  await chmod(hook, 0o755);
  const configuration = '"$1"/etc/initramfs-tools';
  const prepare = [
    `mkdir -p ${configuration}/conf.d ${configuration}/hooks`,
    `echo MODULES=list > ${configuration}/conf.d/blixard`,
    `cp '${hook}' ${configuration}/hooks/blixard`,
  ];
  const release = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "stable";
  await execFileAsync(
    "mmdebstrap",
    [
      ...["--variant=minbase", "--format=directory", "--quiet", `--include=${packages.join(",")}`],
      ...["--aptopt=APT::Install-Recommends false", "--dpkgopt=force-unsafe-io"],
      ...leftOut.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
      ...[`--essential-hook=${prepare.join(" && ")}`, release, root, ...packageSources()],
    ],
    { maxBuffer: 64 * 1024 * 1024 },
  );
}

/** Those of this machine, whatever they are. */
function packageSources(): string[] {
  const more = "/etc/apt/sources.list.d";
  const parts = readdirSync(more).filter((name) => /\.(list|sources)$/.test(name));
  return [...["/etc/apt/sources.list"].filter(existsSync), ...parts.map((name) => join(more, name))];
}

async function settle(root: string): Promise<void> {
  await writeFile(join(root, "etc/cloud/cloud.cfg.d/90-blixard.cfg"), cloudConfig);
  // Each guest makes its own.
  await writeFile(join(root, "etc/machine-id"), "");
  for (const name of await readdir(join(root, "etc/ssh"))) {
    if (name.startsWith("ssh_host_")) await rm(join(root, "etc/ssh", name));
  }
  await execFileAsync("systemctl", [`--root=${root}`, "--quiet", "mask", ...maskedUnits]);
  await execFileAsync("systemctl", [`--root=${root}`, "--quiet", "enable", ...startedUnits]);
}
