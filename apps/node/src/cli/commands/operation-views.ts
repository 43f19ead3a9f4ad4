/** How operations are tabulated, and what a command says of the one that it waits for. */
import { BlixardError, knownErrorCode } from "@blixard/common";
import type { OperationRecord, PlannedVm } from "@blixard/protocol";
import { say } from "../cli-context.ts";
import type { ClientOptions, ClientSession } from "../client-command.ts";
import { print, printItem, type View } from "../output.ts";
import { formatAge } from "../quantities.ts";
import { formatTable } from "../table.ts";

const since = (unixMs: number) => formatAge(Date.now() - unixMs);

export const operationView: View<OperationRecord> = {
  name: (operation) => operation.id,
  columns: [
    { title: "ID", value: (operation) => operation.id },
    { title: "KIND", value: (operation) => operation.kind },
    { title: "SUBJECT", value: (operation) => operation.subject },
    { title: "STATE", value: (operation) => operation.state },
    { title: "DONE", value: (operation) => `${operation.percent} %` },
    { title: "AGE", value: (operation) => since(operation.startedUnixMs) },
    { title: "WHO", value: ({ actor }) => `${actor.kind} ${actor.id}` },
    { title: "MESSAGE", value: (operation) => operation.message },
    { title: "UPDATED", value: (operation) => `${since(operation.updatedUnixMs)} ago`, wide: true },
    {
      title: "ERROR",
      value: ({ error }) => (error === undefined ? null : `${error.message} [${error.code}]`),
      wide: true,
    },
  ],
};

export const plannedVmView: View<PlannedVm> = {
  name: (planned) => planned.vm,
  columns: [
    { title: "VM", value: (planned) => planned.vm },
    { title: "ACTION", value: (planned) => planned.action },
    { title: "TO", value: (planned) => planned.to ?? null },
    { title: "WHY", value: (planned) => planned.why },
  ],
};

/** A table below that of the operation: what waits, or was left where it is. */
export function waitingTable({ waiting }: OperationRecord): string {
  if (waiting.length === 0) return "";
  return `\n${formatTable(
    ["VM", "WHY"],
    waiting.map(({ vm, why }) => [vm, why]),
  )}`;
}

/** The contract of exit codes: the command has done a part of what it was asked. */
export const partlyDoneExitCode = 8;

export type WaitingOptions = ClientOptions & { readonly detach?: boolean };

/** Waits until the operation has ended, unless asked not to, prints it, and says by the exit code how it ended. */
export async function finishOperation(
  session: ClientSession,
  started: OperationRecord,
  options: WaitingOptions,
  text?: (ended: OperationRecord) => string,
): Promise<void> {
  const { client, context, format, timeoutMs, follow } = session;
  if (options.detach === true) {
    await printItem(context, format, operationView, started);
    return say(context, `it goes on; wait for it: blixard operations wait ${started.id}`);
  }
  follow(started.id);
  const ended = await client.operations.waitFor(started.id, {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    signal: context.signal,
    onProgress: (operation) => sayProgress(session, operation),
  });
  if (text !== undefined && ended.state === "done" && ended.waiting.length === 0) {
    await print(context, format, ended, () => text(ended), [ended.id]);
  } else await printItem(context, format, operationView, ended, waitingTable);
  assertDone(ended);
  if (ended.waiting.length > 0) context.exitCode = partlyDoneExitCode;
}

function sayProgress({ context }: ClientSession, { id, percent, message, waiting, state }: OperationRecord): void {
  if (state !== "running") return;
  say(context, `${id}: ${percent} %${message === "" ? "" : `, ${message}`}`);
  for (const { vm, why } of waiting) say(context, `  ${vm}: ${why}`);
}

/** @throws what the operation failed with, CONFLICT when it was cancelled */
function assertDone({ id, kind, subject, state, message, error }: OperationRecord): void {
  if (state === "failed") {
    const code = knownErrorCode(error?.code) ?? "UNAVAILABLE";
    throw new BlixardError(code, `${kind} of ${subject} failed: ${error?.message ?? message}`, {
      hint: `See: blixard operations get ${id}`,
    });
  }
  if (state === "cancelled") {
    throw new BlixardError("CONFLICT", `${kind} of ${subject} was cancelled: ${message}`, {
      hint: `What was done stays done. See: blixard operations get ${id}`,
    });
  }
}
