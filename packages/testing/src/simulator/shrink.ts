/** Leaves out planned faults as long as the run still fails in the same way. */
import type { SimulationResult } from "./storm-run.ts";
import type { Violation } from "./violation.ts";

const runsMax = 200;

/** The numbers of those of `faults` that are enough; with all of them out it may fail all the same. */
export async function shrinkFaults(
  run: (keepFaults: readonly number[]) => Promise<SimulationResult>,
  faults: readonly number[],
  violation: Violation,
): Promise<readonly number[]> {
  let kept = faults;
  let runs = 0;
  const stillFails = async (keepFaults: readonly number[]) => {
    runs++;
    const result = await run(keepFaults);
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
