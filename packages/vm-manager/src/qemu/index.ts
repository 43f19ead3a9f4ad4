/** The QEMU driver, for programs that build their own VM manager or look at what this host can do. */
export type { KvmProbe } from "./kvm-probe.ts";
export { probeKvm } from "./kvm-probe.ts";
export { qemuArguments } from "./qemu-arguments.ts";
export type { QemuDriverOptions } from "./qemu-driver.ts";
export { QemuDriver, qemuInstallHint } from "./qemu-driver.ts";
