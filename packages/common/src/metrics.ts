export type Labels = Readonly<Record<string, string>>;

export interface MetricDeclaration {
  /** Prometheus name with the unit last, for example `blixard_raft_append_duration_seconds`. */
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
  /** Upper bounds of a histogram, in the unit of its name. */
  readonly buckets?: readonly number[];
}

export interface Counter {
  add(value?: number, labels?: Labels): void;
}
export interface Gauge {
  set(value: number, labels?: Labels): void;
  /** Forgets what was set for exactly these labels. */
  remove(labels: Labels): void;
}
export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

/** The port for metrics. Each package declares its own in a file `metrics.ts`. */
export interface Metrics {
  counter(declaration: MetricDeclaration): Counter;
  gauge(declaration: MetricDeclaration): Gauge;
  histogram(declaration: MetricDeclaration): Histogram;
}

/**
 * The metrics of one package, in its `metrics.ts`: the only place that names them. Write it as
 * `const declarations = { ... } as const satisfies MetricDeclarations`.
 */
export type MetricDeclarations = Readonly<Record<string, MetricDeclaration & { readonly type: keyof MetricTypes }>>;

interface MetricTypes {
  readonly counter: Counter;
  readonly gauge: Gauge;
  readonly histogram: Histogram;
}

/** One metric for each declaration, under the same name. */
export type BoundMetrics<Declarations extends MetricDeclarations> = {
  readonly [Name in keyof Declarations]: MetricTypes[Declarations[Name]["type"]];
};

/** Makes the declared metrics on a port. */
export function bindMetrics<Declarations extends MetricDeclarations>(
  metrics: Metrics,
  declarations: Declarations,
): BoundMetrics<Declarations> {
  const bound = Object.entries(declarations).map(([name, { type, ...declaration }]) => [
    name,
    metrics[type](declaration),
  ]);
  return Object.fromEntries(bound) as BoundMetrics<Declarations>;
}

/** Drops every observation. */
export const discardMetrics: Metrics = {
  counter: () => ({ add: () => {} }),
  gauge: () => ({ set: () => {}, remove: () => {} }),
  histogram: () => ({ observe: () => {} }),
};
