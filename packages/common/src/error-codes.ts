/**
 * The closed set of error codes. Codes are API: they cross the wire, scripts test them, and a code never changes its
 * meaning. Each stands once, with the HTTP status and the exit code of the command line that go with it.
 */
export interface ErrorCodeFacts {
  readonly httpStatus: number;
  readonly exitCode: number;
  /** True when the same request may succeed later without a change. */
  readonly retryable: boolean;
}

const facts = (httpStatus: number, exitCode: number, retryable = false): ErrorCodeFacts => ({
  httpStatus,
  exitCode,
  retryable,
});

export const errorCodes = {
  // The request is wrong.
  INVALID_ARGUMENT: facts(400, 64),
  MALFORMED_JSON: facts(400, 64),
  UNKNOWN_COMMAND: facts(400, 64),
  UNKNOWN_OPTION: facts(400, 64),
  VALUE_TOO_LARGE: facts(413, 64),
  NOT_FOUND: facts(404, 3),
  KEY_NOT_FOUND: facts(404, 3),
  VM_NOT_FOUND: facts(404, 3),
  IMAGE_NOT_FOUND: facts(404, 3),
  NODE_NOT_FOUND: facts(404, 3),
  TICKET_NOT_FOUND: facts(404, 3),
  TOKEN_NOT_FOUND: facts(404, 3),
  OPERATION_NOT_FOUND: facts(404, 3),
  VOLUME_NOT_FOUND: facts(404, 3),
  NETWORK_NOT_FOUND: facts(404, 3),
  SECURITY_GROUP_NOT_FOUND: facts(404, 3),
  METHOD_NOT_ALLOWED: facts(405, 64),
  UNSUPPORTED: facts(501, 1),
  /** The person who was asked did not agree. */
  NOT_CONFIRMED: facts(400, 1),
  // The caller may not.
  UNAUTHENTICATED: facts(401, 4),
  PERMISSION_DENIED: facts(403, 4),
  TICKET_INVALID: facts(403, 4),
  TICKET_EXPIRED: facts(403, 4),
  TICKET_USED: facts(403, 4),
  UNKNOWN_PEER: facts(403, 4),
  /** An operator has to accept the machine first. */
  JOIN_PENDING: facts(403, 75, true),
  WRONG_CLUSTER: facts(403, 77),
  REMOVED: facts(403, 77),
  DUPLICATE_NODE: facts(409, 77),
  /** Another node serves this caller; the details say which ones. */
  MISDIRECTED: facts(421, 6, true),
  // The state says no.
  CONFLICT: facts(409, 5),
  ALREADY_EXISTS: facts(409, 5),
  PRECONDITION_FAILED: facts(412, 5),
  STALE_EPOCH: facts(409, 5),
  /** An earlier attempt of the request may have been applied, so long ago that nobody remembers it. */
  REQUEST_FORGOTTEN: facts(409, 5),
  QUORUM_AT_RISK: facts(409, 5),
  NO_CAPACITY: facts(409, 7),
  /** The VMs of a project would take more than it may have. */
  QUOTA_EXCEEDED: facts(409, 7),
  /** A port of the guest takes no connection: the guest refuses it, does not answer, or is not there. */
  GUEST_UNREACHABLE: facts(502, 6),
  /** The node of the VM does not answer, so that nobody knows whether the VM still runs there. */
  NODE_LOST: facts(409, 6),
  // The cluster cannot now.
  NOT_LEADER: facts(503, 6, true),
  NO_LEADER: facts(503, 6, true),
  UNAVAILABLE: facts(503, 6, true),
  UNREACHABLE: facts(503, 6, true),
  PROPOSAL_DROPPED: facts(503, 6, true),
  OVERLOADED: facts(429, 6, true),
  STOPPED: facts(503, 6, true),
  OUTCOME_UNKNOWN: facts(503, 6, true),
  DEADLINE_EXCEEDED: facts(504, 124, true),
  CANCELLED: facts(499, 130),
  // Peers and frames.
  FRAME_TOO_LARGE: facts(413, 1),
  FRAME_CORRUPT: facts(400, 1),
  /** A peer sent more on a stream than it had been given credit for. */
  CREDIT_OVERRUN: facts(400, 1),
  UNSUPPORTED_VERSION: facts(400, 1),
  /** A node answered in a form that this program cannot read: it is of another release, or no node. */
  ANSWER_UNREADABLE: facts(502, 1),
  // The core of Raft; inside a node, and for programs that drive the core themselves.
  STEP_LOCAL_MSG: facts(500, 1),
  STEP_PEER_NOT_FOUND: facts(500, 1),
  CONF_CHANGE_INVALID: facts(409, 5),
  COMPACTED: facts(500, 1),
  SNAPSHOT_TEMPORARILY_UNAVAILABLE: facts(503, 6, true),
  // This machine.
  PORT_IN_USE: facts(500, 75),
  DATA_DIR_IN_USE: facts(500, 75),
  DATA_DIR_FOREIGN: facts(500, 77),
  DATA_DIR_INVALID: facts(500, 64),
  KEY_FILE_TOO_OPEN: facts(500, 64),
  STORAGE_FAILED: facts(500, 74),
  STORAGE_CORRUPT: facts(500, 76),
  /** The log, the state or the cluster needs a later release than this one, or than one of its members. */
  NEEDS_UPGRADE: facts(501, 78),
  VM_DRIVER_FAILED: facts(500, 1),
  INVARIANT: facts(500, 70),
  INTERNAL: facts(500, 1),
} as const satisfies Readonly<Record<string, ErrorCodeFacts>>;

export type ErrorCode = keyof typeof errorCodes;

/** The code that a text from another program stands for; undefined when this release does not know it. */
export function knownErrorCode(text: unknown): ErrorCode | undefined {
  return typeof text === "string" && Object.hasOwn(errorCodes, text) ? (text as ErrorCode) : undefined;
}
