/** What a node and its watchdog say to each other. */
import type { Command, InstanceSpec } from "../driver.ts";
import type { ProcessIdentity } from "../process/process-identity.ts";

/** A process that a driver wants to have started. */
export interface SpawnRequest extends Pick<InstanceSpec, "vmId" | "paths" | "confinement" | "agent"> {
  readonly command: Command;
}

export type WatchdogQuestion =
  /** How long is the lease that it knows? */
  | { readonly type: "hello" }
  /** The lease of the node ends then, on the clock of `bootTimeMs`. */
  | { readonly type: "lease"; readonly untilMs: number }
  /** Starts a process that ends with the lease, or with the watchdog. Refused when the lease is over. */
  | ({ readonly type: "spawn" } & SpawnRequest);

export interface WatchdogAnswers {
  readonly hello: { readonly untilMs: number };
  readonly lease: { readonly untilMs: number };
  readonly spawn: ProcessIdentity;
}

/** The argument by which the watchdog of a data directory is found among all processes: the path of its socket follows. */
export const watchdogArgument = "--blixard-watchdog";

/** A line of the file in which the watchdog writes what it has killed. */
export interface WatchdogNote {
  readonly vmId: string;
  readonly pid: number;
  readonly startTime: string;
  readonly unixMs: number;
  /** The end of the lease, and when it was seen to be over, on the clock of `bootTimeMs`. */
  readonly untilMs: number;
  readonly nowMs: number;
}
