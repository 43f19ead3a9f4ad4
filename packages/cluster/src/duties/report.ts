/** How a node tells the leader what it has seen. */
import type { RequestOf } from "@blixard/protocol";
import type { CallRouter } from "../calls/call-router.ts";
import { nodeMeta } from "../calls/peer-calls.ts";
import { randomRequestId } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";

type ReportName = "vm.observe" | "volume.observe" | "image.observe";

const observeTimeoutMs = 10_000;

/** Resolves when the state here shows it. */
export async function report<Name extends ReportName>(
  { stateMachine, options, random }: Pick<NodeParts, "stateMachine" | "options" | "random">,
  router: Pick<CallRouter, "call">,
  name: Name,
  request: RequestOf<Name>,
  signal: AbortSignal,
): Promise<void> {
  // One id for all attempts of this batch: the router's retry must not wait for a second place in the log.
  const meta = nodeMeta(options.nodeId, `observe-${randomRequestId(random)}`, observeTimeoutMs);
  const { index } = await router.call(name, request, meta, { signal });
  await stateMachine.version.until((next) => next.appliedIndex >= index, { signal });
}
