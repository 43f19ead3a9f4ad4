/**
 * Feature levels: what a release understands of the log, of the state and of snapshots. Each entry of the log states the
 * level that it needs, and the cluster has one level, up to which entries are proposed. It rises when all members report
 * a higher one.
 *
 *     1  the first commands
 *     2  tokens
 *     3  the level of the cluster in the state and in snapshots; what the drivers of a node can do;
 *        nodes that leave only when no VM is placed on them but those that were named as accepted to run twice;
 *        tokens of nodes, tokens that expire, the role operator; addresses that are claimed with a signature;
 *        tickets whose secret stays with their holder; proofs of machines that join without one; keys that are banned;
 *        keys of nodes that are rotated in place; conditions of VMs that their node sees, boot deadlines;
 *        guests whose process does not answer; the last ends of a VM; the order in which VMs start;
 *        leases of nodes, and VMs that move when one is lost; wishes about VMs of a lost node that are forced;
 *        operations, and nodes that are drained; networks of VMs and forwarded ports; disks of VMs, and volumes;
 *        labels of nodes and VMs, where a VM may be placed, VMs that wait for room, settings of the scheduler; private networks;
 *        formats of the disks of images, the nodes that hold an image, and images that are pinned;
 *        what cloud-init is told, sealed; agents of guests; connections to ports of VMs;
 *        VMs that are changed after their creation; rebalancing; disks that are changed while a VM is there;
 *        disks of VMs and volumes that go from node to node; security groups;
 *        processors and memory of VMs that change while they run;
 *        network cards that do; CD-ROM drives, the order in which firmware boots, and images in the format iso;
 *        networks that are bridges of nodes, and private ones with IPv6
 */
export const featureLevels = {
  /** Every release reads this, also those that report 1. It is the level of a cluster that has none in its state. */
  base: 2,
  /** Of this release. */
  own: 3,
  /** It is one byte of an entry. */
  max: 255,
} as const;

/** What a node understands that reports `level`. */
export function understoodLevel(level: number): number {
  return Math.max(level, featureLevels.base);
}
