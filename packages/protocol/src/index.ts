/**
 * The contract between nodes, clients and disk. `api` says each noun once: its records, the commands of the log, and the
 * methods and streams of the node service. `wire` has their bytes. Every transport carries them.
 */
export type { AccessRole, Actor, CallerAccess, CallMeta, MethodAccess } from "./api/access.ts";
export {
  accessRoleSchema,
  authorize,
  forwardHopsMax,
  isAccessRole,
  isAccessToChange,
  mayChange,
} from "./api/access.ts";
export type { BanRecord, HeldSecret } from "./api/ban.ts";
export { blobPromiseSchema } from "./api/blob.ts";
export type { LostVm, NodeRoom } from "./api/capacity.ts";
export type { CertificateView } from "./api/cert.ts";
export type { ClusterRecord, Identity, NodeStatus } from "./api/cluster.ts";
export type {
  Command,
  CommandBody,
  CommandBodyOf,
  CommandResult,
  CommandType,
  HttpMethodName,
  MethodName,
  Methods,
  ParsedRequestOf,
  ParsedStreamRequestOf,
  RequestOf,
  ResponseOf,
  StreamInputOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
  Streams,
} from "./api/contract.ts";
export { commandSubject, commands, methods, streams } from "./api/contract.ts";
export { decidedAt, isDecided } from "./api/decided-error.ts";
export type {
  ClientCall,
  CommandTable,
  HttpRoute,
  HttpStreamRoute,
  HttpVerb,
  Method,
  MethodPlace,
  StreamMethod,
} from "./api/definitions.ts";
export type { DiskCopy, DiskCopyObservation, DiskIndex } from "./api/disk-copy.ts";
export { diskIndexSchema } from "./api/disk-copy.ts";
export type { DriverCapabilities, DriverDemand, DriverKind } from "./api/driver.ts";
export { driverKindSchema, driverRefusal, imageMisfit } from "./api/driver.ts";
export { featureLevels, understoodLevel } from "./api/feature-level.ts";
export type { ImageBlob, ImageFormat, ImageRecord } from "./api/image.ts";
export { mainRoleOf } from "./api/image.ts";
export type { KvChange, KvEntry } from "./api/kv.ts";
export { kvChanges } from "./api/kv.ts";
export type { Labels } from "./api/labels.ts";
export { hasLabels, labelsText, nodeTopology, selects } from "./api/labels.ts";
export type { LossPolicy, LossWishes } from "./api/loss-policy.ts";
export { formerLossPolicy, lossPolicyOf } from "./api/loss-policy.ts";
export type { MemberStatus, PendingJoin } from "./api/member.ts";
export { provedJoinsSince } from "./api/member.ts";
export type { NetworkPlan, NetworkRecord, NetworkView, PrivateNetwork } from "./api/network.ts";
export { address6Of, isPrivate, networkPlanOf } from "./api/network.ts";
export type { KeyChange, MemberRole, NodeCapacity, NodeRecord, NodeView } from "./api/node.ts";
export { memberRoleSchema, nodeCapacitySchema, nodeRecordSchema } from "./api/node.ts";
export type { Health, NodeRoute, PageLogin, PageSession, StoredBlob } from "./api/node-routes.ts";
export { headers, nodeRoutes, pathFields } from "./api/node-routes.ts";
export type { PlannedVm, VmHeld } from "./api/node-work.ts";
export type { DrainMode, DrainWish, OperationKind, OperationRecord, WaitingVm } from "./api/operation.ts";
export type { Quota, QuotaView } from "./api/quota.ts";
export { projectLabel } from "./api/quota.ts";
export type { Criterion, NodeVerdict, PlacementReport, Scheduling } from "./api/scheduling.ts";
export { schedulingDefaults } from "./api/scheduling.ts";
export type { SecurityGroupRecord, SecurityRule } from "./api/security-group.ts";
export {
  groupPeer,
  groupsNamedBy,
  isAddressPeer,
  labelPeer,
  portRangeOf,
  securityRuleSchema,
} from "./api/security-group.ts";
export type { TicketRecord, TicketRole, TicketView } from "./api/ticket.ts";
export { signedTicketsSince, ticketRoleSchema } from "./api/ticket.ts";
export type { TokenRecord, TokenView } from "./api/token.ts";
export type { ShownTicket } from "./api/values.ts";
export {
  addressSchema,
  bridgeNameSchema,
  endpointIdSchema,
  hostPortSchema,
  logPositionSchema,
  nameSchema,
  nodeIdSchema,
  nodePlacesSchema,
} from "./api/values.ts";
export type {
  VmChange,
  VmDesired,
  VmObservation,
  VmPhase,
  VmRecord,
  VmVerb,
  VmVerbName,
} from "./api/vm.ts";
export { vmChanges, vmObservationSchema, vmVerbs } from "./api/vm.ts";
export type { GuestAddress, GuestAgentView } from "./api/vm-agent.ts";
export type { VmCard } from "./api/vm-cards.ts";
export { cardTextsOf, recordedNetworksOf } from "./api/vm-cards.ts";
export type { VmCdrom } from "./api/vm-cdroms.ts";
export { bootOrderOf, bootOrderRefusal, cdromImagesOf, withOwnDrive } from "./api/vm-cdroms.ts";
export type { SealedSecret, VmCloudInit } from "./api/vm-cloud-init.ts";
export { isSealedMark, sealedMark } from "./api/vm-cloud-init.ts";
export type { ObservedCondition, VmCondition } from "./api/vm-conditions.ts";
export { isOnLostNode, nodeReachable, observedConditionTypes, withObservedConditions } from "./api/vm-conditions.ts";
export type { GuestDisks, VmDisk } from "./api/vm-disks.ts";
export {
  diskMiBOf,
  disksOf,
  disksRefusal,
  hasOwnData,
  imageHasDisk,
  rootDiskName,
  volumesOf,
} from "./api/vm-disks.ts";
export type { RecordedVmEnd, VmEnd } from "./api/vm-ends.ts";
export { withObservedEnds } from "./api/vm-ends.ts";
export { forwardEnd } from "./api/vm-forward.ts";
export type { VmHealthCheck } from "./api/vm-health.ts";
export { describeCheck } from "./api/vm-health.ts";
export type { CardState, ForwardState } from "./api/vm-network-state.ts";
export type { NetworkWishes, VmForward, VmNetwork } from "./api/vm-networks.ts";
export {
  forwardNetworkOf,
  forwardsCollide,
  listenAddressOf,
  networksOf,
  privateNetworks,
  userAddressDefault,
  userGatewayPart,
  userNetwork,
  userResolverPart,
} from "./api/vm-networks.ts";
export type { VmAffinity, VmPlacement } from "./api/vm-placement.ts";
export { domainOf, priorityOf } from "./api/vm-placement.ts";
export type { PendingField, StartedWith } from "./api/vm-process.ts";
export { namesOfDrives, pendingRestart } from "./api/vm-process.ts";
export { isQueued, waitsForRoom } from "./api/vm-queue.ts";
export type { ChangedField, UnsettableField, VmSettable, VmSpecChange } from "./api/vm-set.ts";
export { changedLabels, changedSpec, settableFields, unsettableFields } from "./api/vm-set.ts";
export type { VmHotplug } from "./api/vm-size.ts";
export { hotplugOf, isWithin } from "./api/vm-size.ts";
export type { VmSpec, VmSpecInput } from "./api/vm-spec.ts";
export { misfitOf, vmSpecSchema } from "./api/vm-spec.ts";
export type { VolumeObservation, VolumeRecord, VolumeSnapshot } from "./api/volume.ts";
export { limits } from "./limits.ts";
export { nodeKeyTls } from "./tls-names.ts";
export type { SignedAddresses } from "./wire/address-claim.ts";
export { addressClaimBytes, claimedAddressesBytes, claimedAddressesBytesMax } from "./wire/address-claim.ts";
export type { CommandCodec } from "./wire/command-codec.ts";
export { commandCodec, createCommandCodec, decodeCommand, encodeCommand, entryLevel } from "./wire/command-codec.ts";
export type { JoinTicket } from "./wire/join-ticket.ts";
export { decodeTicket, encodeTicket, ticketPrefix } from "./wire/join-ticket.ts";
export { keyChangeBytes } from "./wire/key-change.ts";
export type { PeerCaller, PeerCallLimits, PeerCallOptions, PeerStreamer } from "./wire/peer-call.ts";
export { callPeer, openPeerStream, readAnswer } from "./wire/peer-call.ts";
export type { RpcError, RpcFrame, RpcSide } from "./wire/rpc-codec.ts";
export {
  decodeRpcFrame,
  encodeRpcBatch,
  encodeRpcFrame,
  fromRpcError,
  rpcBatchFramesMax,
  rpcCapability,
  rpcFrameOverheadBytes,
  rpcFramesIn,
  rpcStreamCreditBytesMax,
  rpcStreamItemOverheadBytes,
  toRpcError,
} from "./wire/rpc-codec.ts";
export { withoutLaterFields } from "./wire/schema-level.ts";
export type { ServiceCall } from "./wire/service-call-codec.ts";
export {
  decodeServiceCall,
  decodeServiceResponse,
  decodeStreamItems,
  encodeServiceCall,
  encodeServiceResponse,
  encodeStreamItems,
  forwardRpcMethod,
  frameBytesMin,
  serviceCallBytesMax,
} from "./wire/service-call-codec.ts";
export {
  encodeStreamItem,
  readStreamItem,
  streamHeartbeatMs,
  streamItemSchema,
  streamLineBytesMax,
  streamMediaTypes,
} from "./wire/stream-lines.ts";
export type { TicketCrypto } from "./wire/ticket-proof.ts";
export { isShownBy, proofKeyOf, showTicket } from "./wire/ticket-proof.ts";
export type { WireOptions } from "./wire/wire-codec.ts";
export { decodeValue, encodeKnownValue, encodeValue } from "./wire/wire-codec.ts";
export { unsupported } from "./wire/wire-codec-binary.ts";
