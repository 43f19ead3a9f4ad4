import { existsSync, readdirSync, readFileSync } from "node:fs";
import { symlink } from "node:fs/promises";
import { join, relative } from "node:path";
import { fromUtf8 } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { ImageRecord } from "@blixard/protocol";
import { afterAll, describe, expect, it } from "@jest/globals";
import { findProgram } from "../confinement/launcher.ts";
import { bootSectorBanner, rawDiskImage } from "../testing/boot-sector.ts";
import { writeCpio } from "../testing/cpio.ts";
import { driverConformanceCases } from "../testing/driver-conformance.ts";
import { networkConformanceCases, networkConformanceNeeds } from "../testing/network-conformance.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { VmHarness } from "../testing/vm-harness.ts";
import { QemuDriver } from "./qemu-driver.ts";

afterAll(removeTemporaryDirectories);

const qemuDriver = new QemuDriver({ clock: systemClock });

const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install -y qemu-system-x86 qemu-utils",
};

describeWith(describe, qemu)("QemuDriver", () => {
  for (const { name, run } of driverConformanceCases) {
    it(name, () => run({ drivers: [qemuDriver] }, "qemu-tcg"), 240_000);
  }
});

describeWith(describe, { ...networkConformanceNeeds, ...(qemu.present ? {} : qemu) })(
  "QemuDriver with a network",
  () => {
    for (const { name, run } of networkConformanceCases) {
      it(name, () => run({ drivers: [qemuDriver] }, "qemu-tcg"), 240_000);
    }
  },
);

describeWith(describe, qemu)("QemuDriver with a program of its own", () => {
  it("takes a path that is relative to the working directory", async () => {
    const directory = await temporaryDirectory();
    await symlink(findProgram("qemu-system-x86_64") ?? "", join(directory, "my-qemu"));
    const program = relative(process.cwd(), join(directory, "my-qemu"));
    const driver = new QemuDriver({ clock: systemClock }, { program, accelerator: "tcg" });
    await using harness = await VmHarness.open({ drivers: [driver] });
    harness.want();
    await harness.untilReady();
  });
});

describeWith(describe, qemu)("QemuDriver with a disk image", () => {
  it("boots a raw disk, whose copy stays with the VM until it is deleted", async () => {
    await using harness = await VmHarness.open({ drivers: [qemuDriver], tunables: { powerdownDeadlineMs: 1 } });
    const image = await rawDiskImage(harness.manager);
    harness.want({ image });
    await harness.untilConsole(bootSectorBanner);
    const disk = join(harness.dataDir, "instances", harness.vmId, "disk.raw");
    expect(existsSync(disk)).toBe(true);
    harness.manager.setDesired([]);
    await harness.manager.observations.until((all) => !all.has(harness.vmId));
    expect(existsSync(disk)).toBe(true);
    harness.want({ image, desired: "deleted", fencingEpoch: 2 });
    await harness.untilPhase("Deleted");
    expect(existsSync(disk)).toBe(false);
  });
});

const kernelPath = readdirSync("/boot")
  .filter((name) => /^vmlinuz-.*cloud/.test(name))
  .map((name) => `/boot/${name}`)
  .at(-1);
const busyboxPath = findProgram("busybox");
const linux = {
  name: "QEMU, a Linux kernel and a static busybox",
  present: qemu.present && kernelPath !== undefined && busyboxPath !== undefined,
  install: "apt-get install -y qemu-system-x86 qemu-utils linux-image-cloud-amd64 busybox-static",
};

const init = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo "blixard linux on $(/bin/busybox uname -m) login:"
while read line; do
  if [ "$line" = poweroff ]; then /bin/busybox poweroff -f; fi
  if [ "$line" = crash ]; then echo c > /proc/sysrq-trigger; fi
  echo "linux says $line"
done
`;

async function* oneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

async function importLinux(harness: VmHarness): Promise<ImageRecord> {
  const initrd = writeCpio([
    { path: "bin", mode: 0o040755 },
    { path: "bin/busybox", mode: 0o100755, data: readFileSync(busyboxPath ?? "") },
    { path: "init", mode: 0o100755, data: fromUtf8(init) },
  ]);
  const kernelBlob = await harness.manager.images.put(oneChunk(readFileSync(kernelPath ?? "")));
  const initrdBlob = await harness.manager.images.put(oneChunk(initrd));
  return {
    name: "linux",
    format: "linux",
    builtin: false,
    blobs: [
      { role: "kernel", ...kernelBlob },
      { role: "initrd", ...initrdBlob },
    ],
    commandLine: "console=ttyS0 panic=-1",
    minMemoryMiB: 96,
    sources: [1],
    createdUnixMs: 0,
  };
}

describeWith(describe, linux)("QemuDriver with a Linux guest", () => {
  it("boots a kernel with an initial RAM disk to a prompt, and powers it off", async () => {
    await using harness = await VmHarness.open({ drivers: [qemuDriver], tunables: { powerdownDeadlineMs: 1_000 } });
    const image = await importLinux(harness);
    harness.want({ image, spec: { memoryMiB: 128 } });
    await harness.untilConsole("blixard linux on x86_64 login:");
    await harness.type("hello");
    await harness.untilConsole("linux says hello");
    await harness.type("poweroff");
    expect((await harness.untilPhase("Stopped")).reason).toBe("guest-shutdown");
  });

  it("marks a guest whose kernel says on the console that it panicked, and no other", async () => {
    await using harness = await VmHarness.open({ drivers: [qemuDriver], tunables: { powerdownDeadlineMs: 1_000 } });
    // Without the module pvpanic nothing but the console tells of it; `panic=0` leaves the guest as it is.
    const image = { ...(await importLinux(harness)), commandLine: "console=ttyS0 panic=0" };
    harness.want({ image, spec: { memoryMiB: 128 } });
    await harness.untilConsole("blixard linux on x86_64 login:");
    await harness.type("say Kernel panic - not syncing");
    await harness.untilConsole("linux says say Kernel panic");
    const pid = await harness.process();
    expect(harness.observation()).toMatchObject({ phase: "Running", guest: "ready" });
    await harness.type("crash");
    const panicked = await harness.until("panicked", ({ guest }) => guest === "panicked");
    const message = expect.stringContaining("Kernel panic - not syncing: sysrq triggered crash");
    expect(panicked).toMatchObject({ phase: "Running", conditions: [{ type: "GuestPanic", status: true, message }] });
    await harness.reopen();
    const found = await harness.until("panicked", ({ guest }) => guest === "panicked");
    expect(found.conditions).toMatchObject([{ message }]);
    expect(await harness.process()).toBe(pid);
  });
});
