/**
 * What random clients never hit: a request id that comes again with exactly the entry at which it leaves the window. It
 * is a new request then; answered from memory, a write would be acknowledged that nobody applies. And one whose caller says
 * that it knew nothing later than its first attempt is not done twice.
 */
import { errorCodeOf } from "@blixard/common";
import { chance, randomOf } from "./seeds.ts";
import { mayPass, outcomeOf } from "./sim-caller.ts";
import type { SimCluster } from "./sim-cluster.ts";

/** It takes as many writes as the window has entries, so not every run does it. */
const share = 0.25;
const timeoutMs = 4_000;
/** Left to be written one by one: others may append entries too. */
const oneByOne = 5;

function expectForgotten(error: unknown): undefined {
  if (errorCodeOf(error) !== "REQUEST_FORGOTTEN" || outcomeOf(error) !== "unknown") throw error;
}

/** In a calm cluster, with nobody else writing. */
export async function probeRequestWindow(cluster: SimCluster, window: number): Promise<void> {
  const { seed, violations } = cluster.world;
  const leader = cluster.leader();
  const random = randomOf(seed, "window");
  if (leader === undefined || !chance(random, share)) return;
  const put = async (value: string, requestId = cluster.requestId(), since = {}): Promise<number> =>
    (await cluster.call(leader, "kv.put", { key: "probe", value }, { requestId, timeoutMs, ...since })).index;
  try {
    const requestId = cluster.requestId();
    const first = await put("first", requestId);
    const fillers = Array.from({ length: window - oneByOne }, () => put("filler"));
    let last = Math.max(...(await Promise.all(fillers)));
    while (last < first + window - 1) last = await put("filler");
    if (chance(random, 0.5)) {
      const again = await put("second", requestId, { sinceIndex: first - 1 }).catch(expectForgotten);
      if (again === undefined) return;
      const detail = `a request was done at ${first}, and again at ${again}, though its caller knew nothing after ${first - 1}`;
      violations.report("a request that may be forgotten is not done again", detail);
      return;
    }
    const second = await put("second", requestId);
    if (second > last) return;
    const detail = `a request was answered with entry ${second}, ${last + 1 - second} entries later; the window has ${window}`;
    violations.report("a request id that left the window is a new one", detail);
  } catch (error) {
    if (!mayPass(error)) throw error;
  }
}
