/** User ids, both ends included. */
export interface UserRange {
  readonly first: number;
  readonly last: number;
}

/** How the processes of VMs are held apart. */
export interface ConfinementOptions {
  /**
   * The users of VMs when the manager runs as root: each VM gets one of its own. `off`: they run as the manager's user.
   * Default 2 000 000 000 to 2 099 999 999: above every range that systemd and useradd give away, below 2^31.
   */
  readonly users: UserRange | "off";
  /**
   * Path of the control group, below the root of each hierarchy, in which every VM gets one. `off`: VMs stay in the group
   * of the manager. Default `/blixard`.
   */
  readonly controlGroup: string | "off";
  /** MiB that a VM's process may take beside the memory of its guest. Default 512. */
  readonly memoryOverheadMiB: number;
  /** Threads that a VM's process may have beside one for each vCPU. Default 256: QEMU's pool for disks has up to 64. */
  readonly threadsMax: number;
}

export const defaultConfinement: ConfinementOptions = {
  users: { first: 2_000_000_000, last: 2_099_999_999 },
  controlGroup: "/blixard",
  memoryOverheadMiB: 512,
  threadsMax: 256,
};
