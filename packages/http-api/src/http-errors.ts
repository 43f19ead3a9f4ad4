/** Errors as HTTP answers. */
import {
  type BlixardError,
  type ErrorCode,
  errorCodes,
  isBlixardError,
  knownCauseOf,
  type Logger,
  messageOf,
} from "@blixard/common";

export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly hint: string | null;
    readonly outcome: "not_applied" | "unknown";
    readonly retryable: boolean;
    readonly requestId: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
}

export interface ErrorAnswer {
  readonly status: number;
  readonly body: ErrorBody;
}

/** Codes after which nobody can say whether a write took effect, unless the error itself says so. */
const unknownOutcome: ReadonlySet<string> = new Set<ErrorCode>([
  "OUTCOME_UNKNOWN",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "INTERNAL",
]);

/**
 * The answer for anything thrown. An error without a code of the set is a fault of this program, or of the system: it is
 * logged whole, and the caller learns its cause where that is known, and else no more than its request id.
 */
export function errorAnswer(thrown: unknown, requestId: string, writes: boolean, logger: Logger): ErrorAnswer {
  const cause = knownCauseOf(thrown, "the request");
  const error = cause ?? thrown;
  const isKnown = isBlixardError(error) && Object.hasOwn(errorCodes, error.code);
  if (!isKnown || (cause !== undefined && cause.code !== "OVERLOADED")) {
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    logger.log("error", "request failed unexpectedly", { requestId, error: messageOf(thrown), stack });
  }
  if (!isKnown) {
    return answer("INTERNAL", "the node failed to answer; its log says why", requestId, writes);
  }
  return answer(error.code, error.message, requestId, writes, error);
}

function answer(
  code: ErrorCode,
  message: string,
  requestId: string,
  writes: boolean,
  from?: BlixardError,
): ErrorAnswer {
  const { httpStatus, retryable } = errorCodes[code];
  const outcome = writes ? (from?.outcome ?? (unknownOutcome.has(code) ? "unknown" : "not_applied")) : "not_applied";
  const details = from?.details === undefined ? {} : { details: from.details };
  return {
    status: httpStatus,
    body: { error: { code, message, hint: from?.hint ?? null, outcome, retryable, requestId, ...details } },
  };
}
