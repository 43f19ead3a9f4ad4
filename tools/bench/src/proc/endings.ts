/** What a benchmark leaves nothing of when it is stopped in its middle: processes, temporary folders, a worktree. */
import { readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";

const cleanings = new Set<() => void>();

/** Remembers what undoes something, for a signal that ends us first. Whoever calls the result does it now, and only once. */
export function cleanAtEnd(clean: () => void): () => void {
  const once = () => {
    if (cleanings.delete(once)) clean();
  };
  cleanings.add(once);
  return once;
}

/** From now on a signal that ends this process first kills its children and undoes what `cleanAtEnd` was told. */
export function endWholeOnSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      for (const pid of childrenOf(process.pid)) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It ended by itself.
        }
      }
      for (const clean of [...cleanings].reverse()) clean();
      process.exit(128 + constants.signals[signal]);
    });
  }
}

function childrenOf(pid: number): number[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const lists = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8"));
    return lists.flatMap((list) => list.split(" ").filter(Boolean).map(Number));
  } catch {
    return [];
  }
}
