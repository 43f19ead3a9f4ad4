/** Test parts of the VM manager: the suite that every driver passes, a harness, and a writer of initial RAM disks. */

export { isoImage } from "../cloud-init/iso9660.ts";
export { findProgram } from "../confinement/launcher.ts";
export { askByDatagram } from "./ask-by-datagram.ts";
export type { CpioEntry } from "./cpio.ts";
export type { DebianGuest } from "./debian-guest.ts";
export { debianGuest, debianGuestCommandLine, debianGuestMemoryMiB, debianGuestNeeds } from "./debian-guest.ts";
export type { DriverConformanceCase } from "./driver-conformance.ts";
export { driverConformanceCases } from "./driver-conformance.ts";
export { freePort } from "./free-port.ts";
export { ovaFile, partitionedDisk, qcow2File } from "./hostile-images.ts";
export {
  linuxGuestCommandLine,
  linuxGuestFiles,
  linuxGuestNeeds,
  linuxGuestReady,
} from "./linux-guest.ts";
export { networkConformanceCases, networkConformanceNeeds } from "./network-conformance.ts";
export {
  networkGuestCommandLine,
  networkGuestComponent,
  networkGuestFiles,
  networkGuestReady,
} from "./network-guest.ts";
export type { RequiredComponent } from "./required-component.ts";
export { describeWith } from "./required-component.ts";
export { SmallFileSystem, smallFileSystemNeeds } from "./small-file-system.ts";
export { TestCard, TestSwitch } from "./test-switch.ts";
export type { VmHarnessOptions, VmWish } from "./vm-harness.ts";
