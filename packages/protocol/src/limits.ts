import { assertAtMost, assertBelow } from "@blixard/common";

/** Named limits that nodes, clients and stored data agree on. The unit stands last in each name. */
export const limits = {
  nodeIdMax: 65_535,
  nodesMax: 1_000,
  nameLengthMax: 63,
  keyBytesMax: 1_024,
  valueBytesMax: 64 * 1024,
  commandBytesMax: 1024 * 1024,
  requestIdLengthMax: 128,
  /** Request ids that the state remembers, so that a retry applies once. */
  requestWindowMax: 10_000,
  vmsMax: 10_000,
  vmVcpusMax: 64,
  vmMemoryMiBMin: 8,
  vmMemoryMiBMax: 1024 * 1024,
  /** In which memory comes and goes while a VM runs: the smallest blocks of virtio-mem. */
  vmMemoryStepMiB: 2,
  vmBootDeadlineMsMin: 1_000,
  vmBootDeadlineMsMax: 24 * 3600 * 1_000,
  vmAutostartOrderMax: 1_000_000,
  vmAutostartDelayMsMax: 3600 * 1_000,
  vmConditionMessageLengthMax: 256,
  vmNetworksMax: 8,
  /** Of a network, an address and a MAC address. */
  vmCardTextLengthMax: 128,
  driverNetworksMax: 64,
  /** Of a range of IPv6, as text. */
  range6LengthMax: 43,
  /** Linux bridges that a node offers. */
  nodeBridgesMax: 16,
  networksMax: 1_000,
  networkExcludesMax: 32,
  securityGroupsMax: 1_000,
  /** Of one group, in one direction. */
  securityRulesMax: 32,
  securityRulePortsMax: 8,
  /** `label:KEY=VALUE` with the longest key and value. */
  securityPeerLengthMax: 133,
  /** Of one network card. */
  vmSecurityGroupsMax: 8,
  vmHealthChecksMax: 8,
  vmHealthIntervalMsMin: 500,
  vmHealthIntervalMsMax: 3600 * 1_000,
  vmHealthTimeoutMsMin: 100,
  vmHealthTimeoutMsMax: 60 * 1_000,
  vmHealthFailuresMax: 100,
  vmHealthPathLengthMax: 256,
  vmHealthTextLengthMax: 128,
  vmHealthArgumentsMax: 16,
  vmHealthArgumentLengthMax: 512,
  vmForwardsMax: 32,
  vmForwardSourcesMax: 16,
  vmEgressRangesMax: 32,
  /** Labels of one node or VM. */
  labelsMax: 32,
  selectorLengthMax: 512,
  selectorValuesMax: 16,
  vmConstraintsMax: 16,
  vmAffinityMax: 16,
  vmPriorityMax: 100,
  vmPriorityDefault: 50,
  /** Of the text that says why a VM is where it is, or why it is nowhere. */
  placementLengthMax: 1_024,
  overcommitMax: 1_000,
  projectQuotasMax: 200,
  /** Ends of a VM that its record keeps. */
  vmEndsMax: 5,
  vmEndMessageLengthMax: 128,
  /** Operations that run at once, and ended ones that are kept. */
  operationsRunningMax: 1_000,
  operationsEndedMax: 100,
  /** Names of VMs in the record of one. */
  operationVmsMax: 1_000,
  rebalanceMovesMax: 50,
  operationWaitingMax: 100,
  operationDeadlineMsMax: 7 * 24 * 3_600_000,
  drainParallelMax: 100,
  /** Disks that a specification names. */
  vmDisksMax: 16,
  vmCdromsMax: 4,
  /** The serial number of a virtio disk has so many bytes. */
  vmDiskNameLengthMax: 20,
  /** A file of ext4 has less than 16 TiB. */
  vmDiskGiBMax: 8_192,
  /** A guest with less takes its disk for a broken one. */
  vmDiskIopsMin: 10,
  vmDiskIopsMax: 10_000_000,
  vmDiskRateMin: 64 * 1024,
  vmDiskRateMax: 1024 ** 4,
  /** Volumes that a VM can get, and let go of, while it runs: a slot each. */
  vmHotplugDisksMax: 8,
  /** A disk that is copied to another node. The bulk lane carries no larger file. */
  diskCopyGiBMax: 256,
  /** Nodes that keep an older copy of the disks of a VM for a while. */
  vmCopiesLeftMax: 16,
  /** Copies that one command tells of. */
  copiesObservedMax: 64,
  volumesMax: 10_000,
  volumeSnapshotsMax: 16,
  /** Some clouds take no more. */
  vmUserDataBytesMax: 16 * 1024,
  vmSshKeysMax: 16,
  vmSshKeyLengthMax: 2_048,
  /** Base64 of the user data, with nonce and tag. */
  sealedDataLengthMax: 24 * 1024,
  /** Two for each of many voters, and for the node that runs the VM. */
  sealedKeysMax: 128,
  guestAddressesMax: 16,
  guestInterfaceLengthMax: 32,
  /** An IPv6 address that ends as an IPv4 address. */
  guestAddressLengthMax: 45,
  guestPathLengthMax: 1_024,
  guestExecArgumentsMax: 64,
  guestExecArgumentLengthMax: 8 * 1024,
  guestExecInputBytesMax: 64 * 1024,
  guestExecOutputBytesMax: 128 * 1024,
  guestExecMsDefault: 30_000,
  guestExecMsMax: 600_000,
  guestFilePieceBytesMax: 64 * 1024,
  imagesMax: 1_000,
  imageBlobBytesMax: 16 * 1024 ** 3,
  blobUrlLengthMax: 2_048,
  /** Blobs that one node lets go at once; the rest goes the next time. */
  blobsCollectedMax: 1_000,
  ticketsMax: 1_000,
  ticketTtlSecondsMax: 30 * 24 * 3600,
  ticketTtlSecondsDefault: 24 * 3600,
  tokensMax: 1_000,
  /** None is ever forgotten. */
  bansMax: 10_000,
  tokenTtlSecondsMax: 10 * 365 * 24 * 3600,
  addressesPerNodeMax: 16,
  longLeaseMsMax: 24 * 3_600_000,
  listMax: 10_000,
  consoleReadBytesMax: 64 * 1024,
  consoleReadWaitMsMax: 30_000,
  logReadBytesMax: 1024 * 1024,
  blobPieceBytesMax: 256 * 1024,
} as const;

type Limits = Readonly<Record<keyof typeof limits, number>>;

/** Fails where limits that depend on each other contradict each other. */
export function assertLimits(of: Limits): void {
  const { keyBytesMax, valueBytesMax, commandBytesMax } = of;
  assertBelow(
    { "keyBytesMax + 2 * valueBytesMax": keyBytesMax + 2 * valueBytesMax },
    { commandBytesMax },
    "a command holds a key, the value that is expected and the new one",
  );
  const { vmMemoryMiBMin, vmMemoryMiBMax, vmBootDeadlineMsMin, vmBootDeadlineMsMax } = of;
  assertBelow({ vmBootDeadlineMsMin }, { vmBootDeadlineMsMax }, "some time to boot has to be allowed");
  const { vmDiskIopsMin, vmDiskIopsMax, vmDiskRateMin, vmDiskRateMax } = of;
  assertBelow({ vmDiskIopsMin }, { vmDiskIopsMax }, "some operations of a disk have to be allowed");
  assertBelow({ vmDiskRateMin }, { vmDiskRateMax }, "some bytes of a disk have to be allowed");
  const { ticketTtlSecondsDefault, ticketTtlSecondsMax, nodesMax, nodeIdMax } = of;
  assertAtMost({ vmMemoryMiBMin }, { vmMemoryMiBMax }, "some memory has to be allowed");
  assertAtMost({ ticketTtlSecondsDefault }, { ticketTtlSecondsMax }, "a ticket with the default must be one");
  assertAtMost({ nodesMax }, { nodeIdMax }, "each node has an id of its own");
  const {
    vmsMax,
    volumesMax,
    networksMax,
    securityGroupsMax,
    imagesMax,
    listMax,
    blobPieceBytesMax,
    imageBlobBytesMax,
  } = of;
  const listed = { vmsMax, volumesMax, networksMax, securityGroupsMax, imagesMax };
  assertAtMost(listed, { listMax }, "a list holds all that there may be");
  assertAtMost({ blobPieceBytesMax }, { imageBlobBytesMax }, "a blob is made of pieces");
}

assertLimits(limits);
