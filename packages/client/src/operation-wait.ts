/** Waiting for the end of an operation, over changes of the leader. There is no stream of operations: it is asked again. */
import { BlixardError, type Clock, sleep } from "@blixard/common";
import type { OperationRecord } from "@blixard/protocol";
import type { CallOptions } from "./call-types.ts";

export interface OperationWaitOptions {
  /** Default: as long as it takes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called with each record that says something new. */
  readonly onProgress?: (operation: OperationRecord) => void;
}

const askEveryMs = 300;
/** A cluster that elects another leader answers within this time. */
const answerMsMax = 60_000;

export async function waitForOperation(
  get: (id: string, options?: CallOptions) => Promise<OperationRecord>,
  clock: Clock,
  id: string,
  { timeoutMs = Number.POSITIVE_INFINITY, signal, onProgress }: OperationWaitOptions,
): Promise<OperationRecord> {
  const endMs = clock.monotonicMs() + timeoutMs;
  let shownIndex = -1;
  for (;;) {
    const leftMs = Math.max(2_000, endMs - clock.monotonicMs());
    const limits = { timeoutMs: Math.min(answerMsMax, leftMs), ...(signal === undefined ? {} : { signal }) };
    const operation = await get(id, limits);
    if (operation.updatedIndex !== shownIndex) onProgress?.(operation);
    shownIndex = operation.updatedIndex;
    if (operation.state !== "running") return operation;
    if (clock.monotonicMs() >= endMs) {
      throw new BlixardError(
        "DEADLINE_EXCEEDED",
        `the operation ${id} still runs after ${timeoutMs} ms: ${operation.message}`,
        {
          hint: `It goes on. Wait again: blixard operations wait ${id}`,
          outcome: "unknown",
        },
      );
    }
    await sleep(clock, Math.min(askEveryMs, endMs - clock.monotonicMs()), signal);
  }
}
