/**
 * A Linux guest with network cards: the kernel of this machine's distribution and busybox. It asks for their addresses by DHCP, and
 * then runs each line that comes over its serial console.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import type { ImageRecord } from "@blixard/protocol";
import { findProgram } from "../confinement/launcher.ts";
import type { VmManager } from "../vm-manager-types.ts";
import { type CpioEntry, writeCpio } from "./cpio.ts";
import type { RequiredComponent } from "./required-component.ts";

const kernelPath = readdirSync("/boot", { withFileTypes: true })
  .map(({ name }) => join("/boot", name))
  .filter((path) => /vmlinuz-.*cloud/.test(path))
  .at(-1);
const modulesPath = kernelPath === undefined ? "" : `/lib/modules/${basename(kernelPath).replace("vmlinuz-", "")}`;
const busyboxPath = findProgram("busybox");

/** In the order in which they need each other. */
const modules = [
  "drivers/virtio/virtio_ring.ko",
  "drivers/virtio/virtio.ko",
  "drivers/virtio/virtio_pci_legacy_dev.ko",
  "drivers/virtio/virtio_pci_modern_dev.ko",
  "drivers/virtio/virtio_pci.ko",
  "net/core/failover.ko",
  "drivers/net/net_failover.ko",
  "drivers/net/virtio_net.ko",
].map((name) => join(modulesPath, "kernel", name));

/** What a test of it needs on this machine. */
export const networkGuestComponent: RequiredComponent = {
  name: "QEMU, passt, a Linux kernel with its modules, and a static busybox",
  present:
    ["qemu-system-x86_64", "passt", "busybox"].every((name) => findProgram(name) !== undefined) &&
    existsSync(modules.at(-1) ?? ""),
  install: "apt-get install -y qemu-system-x86 qemu-utils passt linux-image-cloud-amd64 busybox-static",
};

export const networkGuestReady = "blixard guest has";

const init = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /etc /www
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
for module in /modules/*; do insmod $module || echo "no $module"; done
ip link set lo up
echo "a page of the guest" > /www/index.html
httpd -p 80 -h /www
for device in $(ls /sys/class/net | grep eth); do
  ip link set $device up
  udhcpc -q -n -t 20 -T 1 -i $device -s /lease > /dev/null 2>&1
done
echo "${networkGuestReady} $(ip -4 -o addr | grep eth | tr -s ' ' | cut -d ' ' -f 4 | xargs) by $(cat /etc/resolv.conf | xargs)"
# resolve NAME: its address of IPv4, by the resolvers that DHCP told of.
resolve() { nslookup -type=a $1 2> /dev/null | sed -n '3,$s/^Address.*: *//p'; }
# get ADDRESS PORT SECONDS: a page over HTTP. The wget of a static busybox does not run without shared libraries. Its own side
# of the connection stays open, since passt 2023-03-09 says again and again what comes after the guest has closed that.
get() {
  rm -f /ask; mkfifo /ask; exec 4<>/ask
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&4
  nc -w $3 $1 $2 <&4
}
while read -r line; do eval "$line" < /dev/null; done
`;

const lease = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
[ -z "$router" ] || ip route add default via $router
echo "nameserver $dns" >> /etc/resolv.conf
[ -z "$domain" ] || echo "search $domain" >> /etc/resolv.conf
`;

/** The parts of the image. The kernel says nothing on the console, where it would come between the answers. */
export function networkGuestFiles(): { readonly kernel: Uint8Array; readonly initrd: Uint8Array } {
  const directory = (path: string): CpioEntry => ({ path, mode: 0o040755 });
  const program = (path: string, data: Uint8Array): CpioEntry => ({ path, mode: 0o100755, data });
  const initrd = writeCpio([
    directory("bin"),
    directory("modules"),
    program("bin/busybox", readFileSync(busyboxPath ?? "")),
    program("init", fromUtf8(init)),
    program("lease", fromUtf8(lease)),
    ...modules.map((path, index) => program(`modules/${index}`, readFileSync(path))),
  ]);
  return { kernel: readFileSync(kernelPath ?? ""), initrd };
}

export const networkGuestCommandLine = "console=ttyS0 panic=-1 quiet";

export async function importNetworkGuest(manager: VmManager): Promise<ImageRecord> {
  const { kernel, initrd } = networkGuestFiles();
  const kernelBlob = await manager.images.put(oneChunk(kernel));
  const initrdBlob = await manager.images.put(oneChunk(initrd));
  return {
    name: "network-guest",
    format: "linux",
    builtin: false,
    blobs: [
      { role: "kernel", ...kernelBlob },
      { role: "initrd", ...initrdBlob },
    ],
    commandLine: networkGuestCommandLine,
    minMemoryMiB: 96,
    sources: [1],
    createdUnixMs: 0,
  };
}

async function* oneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
