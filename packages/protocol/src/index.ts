/**
 * The contract between nodes, clients and disk: the records of the replicated state, the commands of the log, the
 * methods of the node service, and the closed set of error codes. Shapes stand here once; every transport carries them.
 */
export { commandFormatVersion, decodeCommand, encodeCommand } from "./command-codec.ts";
export { clusterRecordSchema, commandBodySchema, commandSchema } from "./command-schema.ts";
export type { Actor, Command, CommandBody, CommandResult } from "./commands.ts";
export type { JoinTicket } from "./join-ticket.ts";
export { decodeTicket, encodeTicket, ticketPrefix } from "./join-ticket.ts";
export { limits } from "./limits.ts";
export { decodeEntries, decodePeerMessages, encodeEntries, encodePeerMessages } from "./peer-message-codec.ts";
export type {
  ClusterRecord,
  DriverKind,
  ImageBlob,
  ImageRecord,
  KvEntry,
  MemberRole,
  NodeCapacity,
  NodeRecord,
  TicketRecord,
  TicketRole,
  TokenRecord,
  VmCondition,
  VmDesired,
  VmObservation,
  VmPhase,
  VmRecord,
  VmSpec,
  VmSpecInput,
} from "./records.ts";
export {
  addressSchema,
  digestSchema,
  driverKindSchema,
  endpointIdSchema,
  hostPortSchema,
  imageBlobSchema,
  imageNameSchema,
  imageRecordSchema,
  kvEntrySchema,
  logPositionSchema,
  memberRoleSchema,
  nameSchema,
  nodeCapacitySchema,
  nodeIdSchema,
  nodeRecordSchema,
  ticketRecordSchema,
  ticketRoleSchema,
  tokenRecordSchema,
  vmConditionSchema,
  vmDesiredSchema,
  vmObservationSchema,
  vmPhaseSchema,
  vmRecordSchema,
  vmSpecSchema,
} from "./records.ts";
export type { RpcError, RpcFrame, RpcSide } from "./rpc-codec.ts";
export {
  decodeRpcFrame,
  encodeRpcFrame,
  fromRpcError,
  rpcStreamCreditBytesMax,
  rpcStreamItemOverheadBytes,
  toRpcError,
} from "./rpc-codec.ts";
export type { ServiceCall } from "./service-call-codec.ts";
export {
  decodeServiceCall,
  decodeServiceResponse,
  decodeStreamItems,
  encodeServiceCall,
  encodeServiceResponse,
  encodeStreamItems,
  forwardRpcMethod,
  serviceCallBytesMax,
} from "./service-call-codec.ts";
export type {
  CertificateView,
  Identity,
  MemberStatus,
  NodeStatus,
  NodeView,
  PendingJoin,
  TicketView,
  TokenView,
} from "./service-views.ts";
export {
  identitySchema,
  memberStatusSchema,
  nodeStatusSchema,
  nodeViewSchema,
  ticketViewSchema,
  tokenViewSchema,
} from "./service-views.ts";
export type {
  CallMeta,
  Method,
  MethodAccess,
  MethodName,
  MethodPlace,
  Methods,
  ParsedRequestOf,
  RequestOf,
  ResponseOf,
} from "./services.ts";
export {
  forwardHopsMax,
  methods,
} from "./services.ts";
export type {
  ParsedStreamRequestOf,
  StreamInputOf,
  StreamMethods,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
} from "./stream-methods.ts";
export { kvChanges, streamMethods } from "./stream-methods.ts";
export { nodeKeyTls } from "./tls-names.ts";
export type { WireOptions } from "./wire-codec.ts";
export { decodeValue, encodeValue, wireDepthMax } from "./wire-codec.ts";
