/**
 * What random clients never hit: a request id that comes again with exactly the entry at which it leaves the window. It
 * is a new request then; answered from memory, a write would be acknowledged that nobody applies.
 */
import { chance, randomOf } from "./seeds.ts";
import { mayPass } from "./sim-caller.ts";
import type { SimCluster } from "./sim-cluster.ts";

/** It takes as many writes as the window has entries, so not every run does it. */
const share = 0.25;
const timeoutMs = 4_000;
/** Left to be written one by one: others may append entries too. */
const oneByOne = 5;

/** In a calm cluster, with nobody else writing. */
export async function probeRequestWindow(cluster: SimCluster, window: number): Promise<void> {
  const { seed, violations } = cluster.world;
  const leader = cluster.leader();
  if (leader === undefined || !chance(randomOf(seed, "window"), share)) return;
  const put = async (value: string, requestId = cluster.requestId()): Promise<number> =>
    (await cluster.call(leader, "kv.put", { key: "probe", value }, { requestId, timeoutMs })).index;
  try {
    const requestId = cluster.requestId();
    const first = await put("first", requestId);
    const fillers = Array.from({ length: window - oneByOne }, () => put("filler"));
    let last = Math.max(...(await Promise.all(fillers)));
    while (last < first + window - 1) last = await put("filler");
    const second = await put("second", requestId);
    if (second > last) return;
    const detail = `a request was answered with entry ${second}, ${last + 1 - second} entries later; the window has ${window}`;
    violations.report("a request id that left the window is a new one", detail);
  } catch (error) {
    if (!mayPass(error)) throw error;
  }
}
