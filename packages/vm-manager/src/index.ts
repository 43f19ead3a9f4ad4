/**
 * Runs the virtual machines of one node: a reconciler drives each VM's state machine towards what the cluster wants,
 * over a driver (QEMU or embedded), and reports what it observed.
 */
export { nanoGuestBanner, nanoGuestElf } from "./guest/nano-guest.ts";
export { builtinImages } from "./images/builtin-images.ts";
export { inspectImage } from "./images/inspect-image.ts";
export type { VmManagerTunables } from "./options.ts";
export { defaultTunables } from "./options.ts";
export { createVmManager } from "./vm-manager.ts";
export type {
  BlobFetched,
  ConsolePiece,
  DesiredVm,
  FetchBlob,
  VmManager,
  VmManagerDeps,
  VmManagerOptions,
} from "./vm-manager-types.ts";
