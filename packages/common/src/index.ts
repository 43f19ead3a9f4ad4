/**
 * Ground floor of Blixard. It holds what every package needs and what no domain owns: assertions, branded
 * types, coded errors, bytes, seeded random numbers, and the ports for time, randomness, logs and metrics.
 * Nothing here reads a clock, a file or a socket; the adapters for a real process are in `@blixard/common/system`.
 */
export type { NamedLimit } from "./assert.ts";
export { assert, assertAtMost, assertBelow, assertSafeInteger, InvariantError } from "./assert.ts";
export { BoundedQueue } from "./bounded-queue.ts";
export type { Brand } from "./brand.ts";
export { bytesEqual, concatBytes, fromHex, fromUtf8, toHex, toUtf8, writeUtf8 } from "./bytes.ts";
export type { Clock, Timer } from "./clock.ts";
export { CloseStack } from "./close-stack.ts";
export type { ErrorCode, ErrorCodeFacts } from "./error-codes.ts";
export { errorCodes, knownErrorCode } from "./error-codes.ts";
export type { BlixardErrorOptions, ErrorOutcome } from "./errors.ts";
export {
  BlixardError,
  changedError,
  errnoOf,
  errorCodeOf,
  isBlixardError,
  messageOf,
  notApplied,
  systemErrorCodeOf,
} from "./errors.ts";
export type { HostPort } from "./host-port.ts";
export {
  directAddresses,
  firstAddresses,
  formatHostPort,
  hostOf,
  isLoopbackHost,
  isRelayUrl,
  parseHostPort,
  requireHostPort,
} from "./host-port.ts";
export type { Ipv4Range } from "./ipv4.ts";
export { formatIpv4, ipv4RangeOf, isInRange, parseIpv4, parseIpv4Range } from "./ipv4.ts";
export { eui64AddressOf, formatIpv6, parseIpv6, parseIpv6Network } from "./ipv6.ts";
export { LazySignal } from "./lazy-signal.ts";
export { type BucketRate, LeakyBucket } from "./leaky-bucket.ts";
export { type LinkedSignal, linkSignal } from "./link-signal.ts";
export type { LogFields, Logger, LogLevel } from "./logger.ts";
export { silentLogger } from "./logger.ts";
export type {
  BoundMetrics,
  Counter,
  Gauge,
  Histogram,
  Labels,
  MetricDeclaration,
  MetricDeclarations,
  Metrics,
} from "./metrics.ts";
export { bindMetrics, discardMetrics } from "./metrics.ts";
export { nearest } from "./nearest.ts";
export { offAbort, onAbort } from "./on-abort.ts";
export { PieceQueue } from "./piece-queue.ts";
export type { Random } from "./random.ts";
export { seededRandom } from "./random.ts";
export { issuesText, issueText, reasonOf } from "./reasons.ts";
export { RecentKeys } from "./recent-keys.ts";
export { setRunnableTimer } from "./runnable-time.ts";
export { SeldomLog } from "./seldom-log.ts";
export { Semaphore } from "./semaphore.ts";
export { SerialQueue } from "./serial-queue.ts";
export { exhaustionOf, fileErrorOf, knownCauseOf, toBlixardError } from "./system-errors.ts";
export { abortReason, firstOf, pauseFor, sleep, untilNextMs, withDeadline, withTimeLimit } from "./waiting.ts";
export { Watch } from "./watch.ts";
export { WatchedMap } from "./watched-map.ts";
