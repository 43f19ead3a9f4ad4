/** Says which images this node holds, and fetches those that too few nodes hold. */
import { firstOf, messageOf, sleep } from "@blixard/common";
import type { CallRouter } from "../calls/call-router.ts";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";
import { imageNews, imagesToFetch } from "./image-plan.ts";
import { report } from "./report.ts";

/** What this duty uses of the node. */
type ImageDutyParts = Pick<
  NodeParts,
  "clock" | "random" | "logger" | "options" | "raft" | "transport" | "vmManager" | "stateMachine"
>;

/** Names in one command, so that it stays far below the largest command. */
const batchMax = 500;
/** How often it is looked who can be reached, while too few nodes hold an image. */
const lookAgainMs = 5_000;

/** Runs until `signal` aborts. Never rejects. */
export async function runImageDuty(
  parts: ImageDutyParts,
  router: Pick<CallRouter, "call">,
  loop: LoopDeps,
  caughtUp: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  await caughtUp(signal).catch(() => {});
  if (signal.aborted) return;
  await Promise.all([runObserved(parts, router, loop, signal), runCopies(parts, loop, signal)]);
}

function runObserved(parts: ImageDutyParts, router: Pick<CallRouter, "call">, loop: LoopDeps, signal: AbortSignal) {
  const { stateMachine, vmManager, options } = parts;
  const { nodeId } = options;
  const { held } = vmManager.images;
  return runLoop(loop, "image-observe", signal, async () => {
    const seen = held.value;
    const { changed } = stateMachine.version.value;
    const news = imageNews(stateMachine.state, nodeId, seen);
    if (news.held.length + news.lost.length === 0) {
      await firstOf(signal, (until) => [
        held.until((value) => value !== seen, { signal: until }),
        stateMachine.version.until((next) => isNewer(next.changed, changed), { signal: until }),
      ]);
      return;
    }
    const request = { nodeId, held: news.held.slice(0, batchMax), lost: news.lost.slice(0, batchMax) };
    await report(parts, router, "image.observe", request, signal);
  });
}

function runCopies(parts: ImageDutyParts, loop: LoopDeps, signal: AbortSignal) {
  const { stateMachine, vmManager, options, clock, logger } = parts;
  const { held } = vmManager.images;
  return runLoop(loop, "image-copies", signal, async () => {
    const { changed } = stateMachine.version.value;
    const reachable = (id: number) => isReachable(parts, id);
    const { chosen, isShort } = imagesToFetch(stateMachine.state, options.nodeId, held.value, reachable);
    if (chosen.length === 0) {
      await firstOf(signal, (until) => [
        stateMachine.version.until((next) => isNewer(next.changed, changed), { signal: until }),
        ...(isShort ? [sleep(clock, lookAgainMs, until)] : []),
      ]);
      return;
    }
    let failure: unknown;
    for (const { name, blobs, sources } of chosen) {
      try {
        for (const blob of blobs) await vmManager.images.ensure(blob, sources, signal);
      } catch (error) {
        signal.throwIfAborted();
        logger.log("warn", "a copy of an image could not be fetched", { image: name, error: messageOf(error) });
        failure = error;
      }
    }
    if (failure !== undefined) throw failure;
  });
}

type Changed = ImageDutyParts["stateMachine"]["version"]["value"]["changed"];

function isNewer(next: Changed, seen: Changed): boolean {
  return next.images !== seen.images || next.nodes !== seen.nodes || next.level !== seen.level;
}
