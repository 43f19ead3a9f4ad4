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

/** What a label holds: one of a closed list of values, or `"any"` text, of which there has to be little. */
export type LabelValues = readonly string[] | "any";

/**
 * The metrics of one package, in its `metrics.ts`: the only place that names them. Write it as
 * `const declarations = { ... } as const satisfies MetricDeclarations` and bind it with `bindMetrics`.
 */
export type MetricDeclarations = Readonly<
  Record<
    string,
    Omit<MetricDeclaration, "labelNames"> & {
      readonly type: keyof Metrics;
      readonly labels?: Readonly<Record<string, LabelValues>>;
    }
  >
>;

type LabelsOf<Declared> = {
  readonly [Label in keyof Declared]: Declared[Label] extends readonly (infer Value)[] ? Value : string;
};

interface Unlabelled {
  readonly counter: { add(value?: number): void };
  readonly gauge: { set(value: number): void };
  readonly histogram: { observe(value: number): void };
}

interface Labelled<L> {
  readonly counter: { add(value: number, labels: L): void };
  readonly gauge: { set(value: number, labels: L): void; remove(labels: L): void };
  readonly histogram: { observe(value: number, labels: L): void };
}

/** One metric for each declaration, under the same name, which takes no other labels than the declared ones. */
export type BoundMetrics<Declarations extends MetricDeclarations> = {
  readonly [Name in keyof Declarations]: Declarations[Name] extends { readonly labels: infer Declared }
    ? Labelled<LabelsOf<Declared>>[Declarations[Name]["type"]]
    : Unlabelled[Declarations[Name]["type"]];
};

/**
 * Makes the declared metrics on a port. A counter whose labels are all closed lists counts 0 for each combination of them
 * from the start: Prometheus sees no increase in a series that begins with its first event.
 */
export function bindMetrics<Declarations extends MetricDeclarations>(
  metrics: Metrics,
  declarations: Declarations,
): BoundMetrics<Declarations> {
  const bound = Object.entries(declarations).map(([name, { type, labels, ...declaration }]) => {
    const labelNames = labels === undefined ? {} : { labelNames: Object.keys(labels) };
    const metric = metrics[type]({ ...declaration, ...labelNames });
    if ("add" in metric) for (const combination of combinationsOf(labels ?? {})) metric.add(0, combination);
    return [name, metric];
  });
  return Object.fromEntries(bound) as BoundMetrics<Declarations>;
}

/** All combinations of the values of closed lists; none when a label takes any text. */
function combinationsOf(labels: Readonly<Record<string, LabelValues>>): Labels[] {
  let combinations: Labels[] = [{}];
  for (const [label, values] of Object.entries(labels)) {
    if (values === "any") return [];
    combinations = combinations.flatMap((others) => values.map((value) => ({ ...others, [label]: value })));
  }
  return combinations;
}

/** Drops every observation. */
export const discardMetrics: Metrics = {
  counter: () => ({ add: () => {} }),
  gauge: () => ({ set: () => {}, remove: () => {} }),
  histogram: () => ({ observe: () => {} }),
};
