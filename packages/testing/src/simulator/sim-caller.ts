/** A call from outside of the machines, as a program on one of them or near it makes it. */
import { BlixardError, errorCodeOf, isBlixardError, notApplied } from "@blixard/common";
import type { SimMachine } from "./sim-machine.ts";
import type { SimProcess } from "./sim-process.ts";
import type { VirtualTime } from "./virtual-time.ts";

const clientDelayMs = 0.5;
const answerMs = 1_000;

/** Runs `work` on what the machine runs. Rejects with UNREACHABLE when that is down, and when it does not answer. */
export function callMachine<Node, T>(
  { time, outside }: { readonly time: VirtualTime; readonly outside: SimProcess },
  machine: SimMachine<Node>,
  timeoutMs: number,
  work: (node: Node, process: SimProcess) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = outside.after(timeoutMs + answerMs, () =>
      reject(new BlixardError("DEADLINE_EXCEEDED", `node ${machine.id} does not answer`, { outcome: "unknown" })),
    );
    const back = (process: SimProcess, settle: () => void) => {
      if (!process.alive) return;
      time.after(clientDelayMs, 0, () => {
        giveUp.cancel();
        settle();
      });
    };
    outside.after(clientDelayMs, () => {
      const { node, process } = machine;
      if (node === undefined || process === undefined || !process.alive) {
        giveUp.cancel();
        reject(notApplied("UNREACHABLE", `node ${machine.id} is down`));
        return;
      }
      process.enter(() => {
        work(node, process).then(
          (value) => back(process, () => resolve(value)),
          (error: unknown) => back(process, () => reject(error)),
        );
      });
    });
  });
}

const passingCodes = new Set([
  "UNREACHABLE",
  "UNAVAILABLE",
  "NO_LEADER",
  "NOT_LEADER",
  "DEADLINE_EXCEEDED",
  "OUTCOME_UNKNOWN",
  "PROPOSAL_DROPPED",
  "STOPPED",
  "OVERLOADED",
  "UNKNOWN_PEER",
  // The node that was asked is no member any more; the others are.
  "REMOVED",
  "CANCELLED",
  "STORAGE_FAILED",
]);

/** True when the same call may succeed at another node or later. */
export function mayPass(error: unknown): boolean {
  return passingCodes.has(errorCodeOf(error) ?? "");
}

export function outcomeOf(error: unknown): "not_applied" | "unknown" {
  return isBlixardError(error) && error.outcome === "not_applied" ? "not_applied" : "unknown";
}
