/** What the plots show, from the metrics of the node: Prometheus text. */

/** The sum over all labels of each of `names`; a name that is not there has no entry. */
export function sumsOf(text: string, names: readonly string[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, name = "", value = ""] = /^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)/.exec(line) ?? [];
    const number = Number(value);
    if (names.includes(name) && Number.isFinite(number)) sums.set(name, (sums.get(name) ?? 0) + number);
  }
  return sums;
}

/** One look at the metrics of a node. */
export interface Sample {
  readonly atMs: number;
  readonly committed: number;
  readonly applied: number;
  readonly proposals: number;
  readonly proposalSeconds: number;
}

const proposalDuration = "blixard_raft_proposal_duration_seconds";

export function sampleOf(text: string, atMs: number): Sample {
  const names = ["blixard_raft_commit_index", "blixard_raft_applied_index"];
  const sums = sumsOf(text, [...names, `${proposalDuration}_count`, `${proposalDuration}_sum`]);
  const sum = (name: string) => sums.get(name) ?? 0;
  return {
    atMs,
    committed: sum("blixard_raft_commit_index"),
    applied: sum("blixard_raft_applied_index"),
    proposals: sum(`${proposalDuration}_count`),
    proposalSeconds: sum(`${proposalDuration}_sum`),
  };
}

/** What is plotted: time in seconds, entries committed in a second, milliseconds of a write (null: there was none), entries not applied yet. */
export interface Series {
  readonly seconds: readonly number[];
  readonly commitsPerSecond: readonly (number | null)[];
  readonly writeMs: readonly (number | null)[];
  readonly lag: readonly (number | null)[];
}

export const samplesMax = 300;

export function withSample(samples: readonly Sample[], sample: Sample): readonly Sample[] {
  return [...samples, sample].slice(-samplesMax);
}

/** Between each sample and the one before. A counter that went back is that of a node that started again: a gap. */
export function seriesOf(samples: readonly Sample[]): Series {
  const pairs = samples.slice(1).map((sample, at) => [samples[at] ?? sample, sample] as const);
  return {
    seconds: pairs.map(([, { atMs }]) => atMs / 1_000),
    commitsPerSecond: pairs.map(([before, now]) =>
      now.committed < before.committed || now.atMs <= before.atMs
        ? null
        : ((now.committed - before.committed) * 1_000) / (now.atMs - before.atMs),
    ),
    writeMs: pairs.map(([before, now]) =>
      now.proposals <= before.proposals
        ? null
        : ((now.proposalSeconds - before.proposalSeconds) * 1_000) / (now.proposals - before.proposals),
    ),
    lag: pairs.map(([, { committed, applied }]) => Math.max(0, committed - applied)),
  };
}
