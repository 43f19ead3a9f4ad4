/** Leaves out planned faults as long as the run still fails in the same way. */
import { type SimulationOptions, simulate } from "./simulation.ts";
import type { Violation } from "./violation.ts";

const runsMax = 200;

/** The numbers of faults that are enough; with all of them out it may fail all the same. */
export async function shrinkFaults(
  options: SimulationOptions,
  faultCount: number,
  violation: Violation,
): Promise<readonly number[]> {
  let kept = options.keepFaults ?? Array.from({ length: faultCount }, (_, at) => at);
  let runs = 0;
  const stillFails = async (keepFaults: readonly number[]) => {
    runs++;
    const result = await simulate({ ...options, keepFaults });
    return result.violation?.property === violation.property;
  };
  for (
    let size = Math.ceil(kept.length / 2);
    size >= 1 && runs < runsMax;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let from = 0; from < kept.length && runs < runsMax; ) {
      const without = [...kept.slice(0, from), ...kept.slice(from + size)];
      if (await stillFails(without)) kept = without;
      else from += size;
    }
  }
  return kept;
}
