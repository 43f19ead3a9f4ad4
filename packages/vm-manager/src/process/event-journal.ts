/**
 * The journal of events that an instance writes by itself: a second QMP monitor on regular files. It holds why the
 * instance ended even when nobody was connected, because all ends of QEMU look alike from outside (exit code 0).
 */
import { readFile } from "node:fs/promises";
import { systemErrorCodeOf } from "@blixard/common";
import type { ExitReason, InstanceState } from "../driver.ts";
import { parseQmpLine, type QmpEvent, qmpEventOf } from "./qmp-client.ts";

/** What the monitor reads first; the rest of the file is empty, so no command can come this way. */
export const journalInput = '{"execute":"qmp_capabilities"}\n';

const journalBytesMax = 1024 * 1024;
const nodeNameLengthMax = 31;
const reasonLengthMax = 128;

/** What an event says about the instance, or undefined when it says nothing about its state. */
export function stateOfEvent({ event, data }: QmpEvent): InstanceState | undefined {
  switch (event) {
    case "STOP":
      return { type: "paused" };
    case "RESUME":
      return { type: "running" };
    case "SHUTDOWN":
      return { type: "halted", reason: shutdownReason(data) };
    case "GUEST_PANICKED":
      return { type: "halted", reason: "guest-panic" };
    case "BLOCK_IO_ERROR":
      return data["action"] === "stop" ? diskFailed(data) : undefined;
    default:
      return undefined;
  }
}

/** What QEMU calls the disks of a VM begins so. */
export const diskNodePrefix = "disk-";

function diskFailed(data: Readonly<Record<string, unknown>>): InstanceState {
  const name = String(data["node-name"] ?? "").slice(0, nodeNameLengthMax);
  const disk = name.startsWith(diskNodePrefix) ? `the disk ${name.slice(diskNodePrefix.length)}` : "a disk";
  const doing = data["operation"] === "read" ? "read" : "written";
  const why = String(data["reason"] ?? "no reason is known").slice(0, reasonLengthMax);
  return { type: "io-error", noSpace: data["nospace"] === true, message: `${disk} cannot be ${doing}: ${why}` };
}

/**
 * Folds an event into a state. QEMU stops its CPUs after a halt, so a STOP then is a part of that halt, and the first
 * reason stays: what follows it (a quit, a signal) is the manager clearing the tombstone.
 */
export function foldState(state: InstanceState, event: QmpEvent): InstanceState {
  const next = stateOfEvent(event);
  if (next === undefined || state.type === "ended" || state.type === "halted") return state;
  // QEMU stops its CPUs after a failure of a disk too.
  return state.type === "io-error" && next.type === "paused" ? state : next;
}

/** The reason that the journal tells for the end of an instance; undefined when it tells none. */
export async function readJournalReason(path: string): Promise<ExitReason | undefined> {
  const state = await readJournalState(path);
  return state?.type === "halted" ? state.reason : undefined;
}

/** The last state that the journal tells of; undefined when there is none. */
export async function readJournalState(path: string): Promise<InstanceState | undefined> {
  let text: string;
  try {
    text = (await readFile(path)).subarray(0, journalBytesMax).toString("utf8");
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw error;
  }
  let state: InstanceState = { type: "running" };
  for (const line of text.split("\n")) {
    const message = parseQmpLine(line);
    const event = message === undefined ? undefined : qmpEventOf(message);
    if (event !== undefined) state = foldState(state, event);
  }
  return state;
}

/** ShutdownCause of QEMU's QAPI schema (qapi/run-state.json). */
function shutdownReason(data: Readonly<Record<string, unknown>>): ExitReason {
  switch (data["reason"]) {
    case "guest-shutdown":
      return "guest-shutdown";
    case "guest-reset":
      return "guest-reset";
    case "guest-panic":
      return "guest-panic";
    case "host-signal":
      return "host-signal";
    case "host-qmp-quit":
    case "host-qmp-system-reset":
    case "host-ui":
      return "host-quit";
    default:
      return "internal-error";
  }
}

/** A run state of `query-status` as the state of an instance (RunState of qapi/run-state.json). */
export function stateOfRunState(status: unknown): InstanceState {
  switch (status) {
    case "running":
      return { type: "running" };
    case "paused":
    case "prelaunch":
    case "suspended":
    case "debug":
      return { type: "paused" };
    case "shutdown":
      return { type: "halted", reason: "guest-shutdown" };
    case "guest-panicked":
      return { type: "halted", reason: "guest-panic" };
    case "io-error":
      return { type: "io-error", noSpace: false, message: "a disk failed" };
    case "internal-error":
      return { type: "halted", reason: "internal-error" };
    default:
      return { type: "unknown", message: `run state ${String(status)}` };
  }
}
