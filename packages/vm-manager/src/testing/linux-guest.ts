/** A real Linux for tests: the kernel of this machine with busybox, which carries out what is typed on its console. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import type { ImageRecord } from "@blixard/protocol";
import { findProgram } from "../confinement/launcher.ts";
import type { VmManager } from "../vm-manager-types.ts";
import { writeCpio } from "./cpio.ts";
import type { RequiredComponent } from "./required-component.ts";

const kernelPath = readdirSync("/boot")
  .filter((name) => /^vmlinuz-.*cloud/.test(name))
  .map((name) => join("/boot", name))
  .at(-1);
const busyboxPath = findProgram("busybox");
const modulesPath = `/lib/modules/${kernelPath?.replace(/^.*vmlinuz-/, "")}/kernel/drivers`;

/** In the order in which they are loaded. */
const modules = [
  ...["virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_legacy_dev", "virtio/virtio_pci_modern_dev"],
  ...["virtio/virtio_pci", "block/virtio_blk", "virtio/virtio_mem"],
  ...["scsi/scsi_common", "scsi/scsi_mod", "scsi/virtio_scsi", "cdrom/cdrom", "scsi/sr_mod"],
];

export const linuxGuestNeeds: RequiredComponent = {
  name: "QEMU, a Linux kernel and a static busybox",
  present: findProgram("qemu-system-x86_64") !== undefined && kernelPath !== undefined && busyboxPath !== undefined,
  install: "apt-get install -y qemu-system-x86 qemu-utils linux-image-cloud-amd64 busybox-static",
};

/** What the guest writes when it takes commands, and after each of them, before its exit code. */
export const linuxGuestReady = "blixard linux takes commands";
export const linuxGuestDone = "exit code ";
export const linuxGuestMemoryMiB = 128;
export const linuxGuestCommandLine = "console=ttyS0 panic=-1 quiet";

const init = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /dev /sys
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in ${modules.map((path) => path.replace(/^.*\//, "")).join(" ")}; do insmod /$module.ko; done
stty -echo
echo "${linuxGuestReady}"
while read line; do sh -c "$line"; echo "${linuxGuestDone}$?"; done
`;

export function linuxGuestFiles(): { readonly kernel: Uint8Array; readonly initrd: Uint8Array } {
  const initrd = writeCpio([
    { path: "bin", mode: 0o040755 },
    { path: "bin/busybox", mode: 0o100755, data: readFileSync(busyboxPath ?? "") },
    ...modules.map((path) => ({
      path: `${path.replace(/^.*\//, "")}.ko`,
      mode: 0o100644,
      data: readFileSync(join(modulesPath, `${path}.ko`)),
    })),
    { path: "init", mode: 0o100755, data: fromUtf8(init) },
  ]);
  return { kernel: readFileSync(kernelPath ?? ""), initrd };
}

/** The image of that guest, which is given to the manager's store; with a disk of these bytes where they are given. */
export async function linuxGuestImage(manager: VmManager, disk?: Uint8Array): Promise<ImageRecord> {
  const { kernel, initrd } = linuxGuestFiles();
  const blobs: ImageRecord["blobs"] = [
    { role: "kernel", ...(await manager.images.put(oneChunk(kernel))) },
    { role: "initrd", ...(await manager.images.put(oneChunk(initrd))) },
    ...(disk === undefined
      ? []
      : [
          {
            ...{ role: "disk" as const, format: "raw" as const },
            ...(await manager.images.put(oneChunk(disk), { raw: true })),
          },
        ]),
  ];
  return {
    name: "linux",
    format: "linux",
    builtin: false,
    blobs,
    commandLine: linuxGuestCommandLine,
    minMemoryMiB: 96,
    sources: [1],
    createdUnixMs: 0,
  };
}

async function* oneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
