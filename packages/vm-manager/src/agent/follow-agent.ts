/** Looks whether the agent in a guest answers, and what it says, for as long as the VM runs. */
import { type Clock, sleep, type Watch } from "@blixard/common";
import type { GuestAgentView } from "@blixard/protocol";
import type { GuestAgent } from "./guest-agent.ts";

/** While it answers. What a guest says so often costs an entry of the log each time that it is something else. */
const answeredDelayMs = 30_000;
/** After an attempt that was in vain: a guest without an agent is asked ever more rarely. */
const silentDelayMsMin = 2_000;
const silentDelayMsMax = 60_000;
const silentDelayGrowth = 1.1;
/** In vain one after the other: what it said before does not hold any more. */
const missesMax = 3;

/** Runs until `signal` aborts. Never rejects. */
export async function followAgent(
  clock: Clock,
  agent: Pick<GuestAgent, "addresses">,
  view: Watch<GuestAgentView | undefined>,
  signal: AbortSignal,
): Promise<void> {
  let misses = 0;
  let silentDelayMs = silentDelayMsMin;
  while (!signal.aborted) {
    let delayMs = answeredDelayMs;
    try {
      view.set({ addresses: await agent.addresses() });
      misses = 0;
      silentDelayMs = silentDelayMsMin;
    } catch {
      misses++;
      if (misses >= missesMax) view.set(undefined);
      silentDelayMs = Math.min(silentDelayMs * silentDelayGrowth, silentDelayMsMax);
      delayMs = silentDelayMs;
    }
    await sleep(clock, delayMs, signal).catch(() => {});
  }
}
