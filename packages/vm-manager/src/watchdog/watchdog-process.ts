/** The watchdog of a data directory as its node reaches it. */
import { dirname } from "node:path";
import {
  endHelpers,
  HelperConnection,
  type HelperKind,
  type HelperPlace,
  startHelper,
} from "../process/helper-process.ts";
import { type WatchdogAnswers, type WatchdogQuestion, watchdogArgument } from "./watchdog-messages.ts";

export interface WatchdogPlace extends HelperPlace {
  /** Where it writes down what it has killed. */
  readonly notesPath: string;
}

const kind: HelperKind = {
  name: "the watchdog",
  argument: watchdogArgument,
  program: new URL("./watchdog-main.js", import.meta.url),
};

export type WatchdogConnection = HelperConnection<WatchdogQuestion, WatchdogAnswers>;

/** @throws VM_DRIVER_FAILED when nobody listens there */
export async function openWatchdog(place: WatchdogPlace): Promise<WatchdogConnection> {
  return await HelperConnection.open(kind, place);
}

/** Starts a watchdog with the lease that its node has. @throws VM_DRIVER_FAILED */
export async function startWatchdog(place: WatchdogPlace, untilMs: number): Promise<WatchdogConnection> {
  const { notesPath } = place;
  return await startHelper(kind, place, { directory: dirname(notesPath), more: [notesPath, `${untilMs}`] });
}

/** Kills whatever watchdog serves this place: its VMs end with it. */
export async function endWatchdogs(place: Pick<WatchdogPlace, "socketPath">): Promise<number> {
  return await endHelpers(kind, place);
}
