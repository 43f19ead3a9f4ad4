/**
 * Runs the virtual machines of one node: a reconciler drives each VM's state machine towards what the cluster wants,
 * over the drivers that the application gives, and reports what it observed.
 */

export type { ConfinementOptions, UserRange } from "./confinement/confinement-options.ts";
export type { ConfinementReport, MissingWall } from "./confinement/host-confinement.ts";
export type { CopyKey, CopyProgress, DiskPart, FetchDiskPart } from "./disks/disk-copies.ts";
export type {
  BootSource,
  Command,
  Confinement,
  ExitReason,
  InstanceHandle,
  InstancePaths,
  InstanceSpec,
  InstanceState,
  ProbeResult,
  VmDriver,
  VmInstance,
  WorkingDriver,
} from "./driver.ts";
export { nanoGuestElf } from "./guest/nano-guest.ts";
export { builtinImages } from "./images/builtin-images.ts";
export type {
  CarrierEndpoint,
  CarrierProgram,
  FrameCarrier,
  FrameLink,
  OpenCarrier,
} from "./network/private/frame-carrier.ts";
export type { LanePeer } from "./network/private/lanes.ts";
export type { NetworksOfNode } from "./network/private/network-table.ts";
export type { GuestStream } from "./network/tcp/guest-stream.ts";
export type { NetworkLane } from "./network/vm-networks.ts";
export type { OpenBlob } from "./open-blob.ts";
export type { VmManagerTunables } from "./options.ts";
export { defaultTunables } from "./options.ts";
export { startVmManager } from "./vm-manager.ts";
export type {
  BlobFetched,
  ConsolePiece,
  DesiredVm,
  FetchBlob,
  HostVmManager,
  VmDiskCopies,
  VmLeases,
  VmManager,
  VmManagerDeps,
  VmManagerOptions,
} from "./vm-manager-types.ts";
export type { DesiredVolume } from "./volumes/volume-keeper.ts";
