/**
 * A stream of the state of this node ends when the node has known no leader for a while: it may be cut off from the
 * others, and would go on to tell nothing though much happens. Its reader opens it anew, at another node if need be.
 */
import { BlixardError, firstOf, type LinkedSignal, linkSignal, sleep } from "@blixard/common";
import type { CallScope } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";

interface RaftParts extends Pick<NodeParts, "clock"> {
  readonly raft: Pick<NodeParts["raft"], "status">;
}

/** Longer than an election takes. */
const leaderlessMsMax = 5_000;

/** Returns a signal that follows that of the call and aborts with NO_LEADER, unless the caller accepts old data. */
export function whileLed(parts: RaftParts, { meta, signal }: CallScope): AbortSignal {
  if (meta.stale) return signal;
  const link = linkSignal(signal);
  endWithoutLeader(parts, link).catch(() => {
    // The stream is over.
  });
  return link.signal;
}

async function endWithoutLeader({ clock, raft }: RaftParts, { signal, abort }: LinkedSignal): Promise<void> {
  for (;;) {
    await raft.status.until(({ leaderId }) => leaderId === 0, { signal });
    await firstOf(signal, (waiting) => [
      raft.status.until(({ leaderId }) => leaderId !== 0, { signal: waiting }),
      sleep(clock, leaderlessMsMax, waiting),
    ]);
    if (raft.status.value.leaderId !== 0) continue;
    abort(new BlixardError("NO_LEADER", `this node has known no leader for ${leaderlessMsMax} ms`));
    return;
  }
}
