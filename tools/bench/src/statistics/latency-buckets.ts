/** Many latencies in few numbers, each within 5 %, so that a run can be kept and drawn later. */
const step = Math.log(1.05);

/** Pairs of an upper bound in milliseconds and the count of latencies in its bucket, in order; empty buckets are left out. */
export function latencyBuckets(latenciesMs: Iterable<number>): [upperMs: number, count: number][] {
  const counts = new Map<number, number>();
  for (const latencyMs of latenciesMs) {
    const bucket = Math.ceil(Math.log(Math.max(latencyMs, 0.01)) / step - 1e-9);
    counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([bucket, count]) => [Number(Math.exp(bucket * step).toPrecision(4)), count]);
}
