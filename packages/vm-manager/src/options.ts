import { assertAtMost, assertBelow } from "@blixard/common";
import { limits } from "@blixard/protocol";

/** Tunables of the VM manager. All times are milliseconds on the monotonic clock of `deps.clock`. */
export interface VmManagerTunables {
  /** Time for a process to answer its control socket after it was spawned. Default 60 000. */
  readonly startDeadlineMs: number;
  /** A guest whose serial console is silent for so long after its start has a condition that says so. Default 120 000. */
  readonly silentAfterMs: number;
  /** Time that a guest has to power off when asked. Default 15 000; 0 does not ask. */
  readonly powerdownDeadlineMs: number;
  /** Time for a process to end after `quit`, and again after SIGTERM. Default 5 000. */
  readonly quitDeadlineMs: number;
  /** First delay before a VM that failed is started again; doubles each time. Default 500. */
  readonly restartBackoffMs: number;
  /** Upper bound of that delay. Default 60 000. */
  readonly restartBackoffMsMax: number;
  /** Restarts without a stable run between them before the VM is Failed(restart-limit). Default 8. */
  readonly restartsMax: number;
  /** A run of this length forgets earlier restarts. Default 60 000. */
  readonly stableRunMs: number;
  /** Bytes of one console log file; the file before it is kept too. Default 1 MiB. */
  readonly consoleBytesMax: number;
}

export const defaultTunables: VmManagerTunables = {
  startDeadlineMs: 60_000,
  silentAfterMs: 120_000,
  powerdownDeadlineMs: 15_000,
  quitDeadlineMs: 5_000,
  restartBackoffMs: 500,
  restartBackoffMsMax: 60_000,
  restartsMax: 8,
  stableRunMs: 60_000,
  consoleBytesMax: 1024 * 1024,
};

/** Fails where defaults that depend on each other contradict each other. */
export function assertTunables(of: VmManagerTunables): void {
  const { quitDeadlineMs, powerdownDeadlineMs } = of;
  assertAtMost({ quitDeadlineMs }, { powerdownDeadlineMs }, "a guest gets longer to power off than a process to end");
  const { restartBackoffMs, restartBackoffMsMax, stableRunMs, consoleBytesMax } = of;
  assertBelow({ restartBackoffMs }, { restartBackoffMsMax }, "the delay doubles");
  assertAtMost({ restartBackoffMsMax }, { stableRunMs }, "a run that forgets restarts is longer than any delay");
  assertAtMost({ consoleReadBytesMax: limits.consoleReadBytesMax }, { consoleBytesMax }, "a log holds one read of it");
}

assertTunables(defaultTunables);
