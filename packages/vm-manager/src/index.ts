/**
 * Runs the virtual machines of one node: a reconciler drives each VM's state machine towards what the cluster wants,
 * over a driver (QEMU or embedded), and reports what it observed.
 */
export type {
  ConsolePiece,
  DesiredVm,
  FetchBlob,
  VmManager,
  VmManagerDeps,
  VmManagerOptions,
} from "./vm-manager-types.ts";
