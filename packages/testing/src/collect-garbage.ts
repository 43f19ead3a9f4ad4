import { once } from "node:events";
import { withTimeLimit } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { WebSocket } from "ws";

const waitMs = 30_000;

/** Lets the process behind this inspector collect all garbage, and waits for the end of that. */
export async function collectGarbage(inspectorUrl: string): Promise<void> {
  const socket = new WebSocket(inspectorUrl);
  try {
    await withTimeLimit(systemClock, waitMs, undefined, async (signal) => {
      await once(socket, "open", { signal });
      const answered = once(socket, "message", { signal });
      socket.send(JSON.stringify({ id: 1, method: "HeapProfiler.collectGarbage" }));
      await answered;
    });
  } finally {
    socket.terminate();
  }
}
