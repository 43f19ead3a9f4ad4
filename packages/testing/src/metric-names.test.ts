import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { parser } from "@prometheus-io/lezer-promql";
import { parse as parseYaml } from "yaml";
import { TestCluster } from "./test-cluster.ts";

const folder = fileURLToPath(new URL("../../../tools/grafana/", import.meta.url));
/** Prometheus adds these itself when it scrapes. */
const scrapeLabels = ["instance", "job", "le"];

interface Expression {
  readonly place: string;
  readonly text: string;
}

async function expressionsOfDashboard(): Promise<Expression[]> {
  const { panels, templating } = JSON.parse(await readFile(`${folder}dashboard.json`, "utf8")) as {
    panels: { title: string; targets?: { expr: string }[] }[];
    templating: { list: { name: string; type: string; query: string }[] };
  };
  const variables = templating.list
    .filter(({ type }) => type === "query")
    .map(({ name, query }) => ({ place: `variable ${name}`, text: /^label_values\((\w+),/.exec(query)?.[1] ?? query }));
  const targets = panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ place: `panel ${title}`, text: expr.replaceAll("$__rate_interval", "5m") })),
  );
  return [...variables, ...targets];
}

async function expressionsOfAlerts(): Promise<Expression[]> {
  const { groups } = parseYaml(await readFile(`${folder}alerts.yaml`, "utf8")) as {
    groups: { rules: { alert: string; expr: string }[] }[];
  };
  return groups.flatMap(({ rules }) => rules.map(({ alert, expr }) => ({ place: `alert ${alert}`, text: expr })));
}

/** The metrics and labels that an expression names; throws where it is not PromQL. */
function namesIn({ place, text }: Expression): { metrics: string[]; labels: string[] } {
  const metrics: string[] = [];
  const labels: string[] = [];
  parser.parse(text).iterate({
    enter: ({ type, name, from, to }) => {
      const part = text.slice(from, to);
      if (type.isError) throw new Error(`${place}: not PromQL at character ${from}: ${text}`);
      if (name === "Identifier") metrics.push(part);
      if (name === "LabelName") labels.push(part);
    },
  });
  return { metrics, labels };
}

interface Selector {
  readonly metric: string;
  readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[];
}

/** What an expression selects, with its conditions on labels. */
function selectorsIn({ text }: Expression): Selector[] {
  const selectors: { metric: string; matchers: Selector["matchers"][number][] }[] = [];
  parser.parse(text).iterate({
    enter: ({ name, from, to }) => {
      if (name === "Identifier") selectors.push({ metric: text.slice(from, to), matchers: [] });
      const [, label, operator, value] = /^(\w+)(=~|!~|!=|=)"(.*)"$/.exec(text.slice(from, to)) ?? [];
      if (name !== "UnquotedLabelMatcher" || label === undefined) return;
      selectors.at(-1)?.matchers.push({ label, operator: operator ?? "", value: value ?? "" });
    },
  });
  return selectors;
}

/** Each series of a metric, as its labels. */
function seriesOf(text: string, metric: string): Record<string, string>[] {
  return text.split("\n").flatMap((line) => {
    const [, name, labels = ""] = /^([a-z_]\w*)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    if (name !== metric) return [];
    return [Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, value]) => [label, value]))];
  });
}

function matches(labels: Record<string, string>, { matchers }: Selector): boolean {
  return matchers.every(({ label, operator, value }) => {
    const own = labels[label] ?? "";
    const same = operator.endsWith("~") ? new RegExp(`^(?:${value})$`).test(own) : own === value;
    return operator.startsWith("!") ? !same : same;
  });
}

/** What nodes emit: label names by metric, from their samples. */
function emittedBy(texts: readonly string[]): Map<string, Set<string>> {
  const emitted = new Map<string, Set<string>>();
  const at = (name: string) => emitted.get(name) ?? emitted.set(name, new Set()).get(name) ?? new Set<string>();
  for (const line of texts.join("\n").split("\n")) {
    const [, name, labels] = /^([a-z_]\w*)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    if (name === undefined) continue;
    const known = at(name);
    for (const [, label = ""] of (labels ?? "").matchAll(/(\w+)="/g)) known.add(label);
  }
  return emitted;
}

describe("the dashboard and the alerts", () => {
  let cluster: TestCluster;
  let emitted: Map<string, Set<string>>;
  /** What each node emits right after its start. */
  let atStart: string[];
  let atEnd: string[];

  beforeAll(async () => {
    cluster = await TestCluster.builder().withNodes(3).withTransport("iroh").build();
    atStart = await scrape();
    await using client = await cluster.leaderClient();
    // A value that is worth compressing, a VM that starts and ends, and a peer that is gone.
    await client.kv.put("key", "value ".repeat(1_000));
    await client.vms.create("web", { image: "demo", memoryMiB: 64 });
    await client.vms.waitForPhase("web", ["Running"]);
    await client.vms.stop("web");
    await client.vms.waitForPhase("web", ["Stopped"]);
    atEnd = await scrape();
    const leader = await cluster.waitForLeader();
    await cluster.nodes.find(({ id }) => id !== leader.id)?.stop();
    emitted = emittedBy(await scrape());
  });
  afterAll(() => cluster.shutdown());

  function scrape(): Promise<string[]> {
    return Promise.all(
      cluster.nodes
        .filter((node) => node.isRunning())
        .map(async (node) => {
          const headers = { authorization: `Bearer ${await node.token()}` };
          const response = await fetch(`${node.http}/metrics`, { headers });
          expect(response.status).toBe(200);
          return response.text();
        }),
    );
  }

  it("hold expressions", async () => {
    expect((await expressionsOfDashboard()).length).toBeGreaterThan(30);
    expect((await expressionsOfAlerts()).length).toBeGreaterThan(8);
    expect(() => namesIn({ place: "here", text: "sum(rate(a[5m])" })).toThrow(/not PromQL/);
  });

  it("name only metrics and labels that running nodes emit", async () => {
    const wrong: string[] = [];
    for (const expression of [...(await expressionsOfDashboard()), ...(await expressionsOfAlerts())]) {
      const { metrics, labels } = namesIn(expression);
      const own = metrics.filter((metric) => metric !== "up");
      for (const metric of own) if (!emitted.has(metric)) wrong.push(`${expression.place}: ${metric} is not emitted`);
      const known = new Set([...scrapeLabels, ...own.flatMap((metric) => [...(emitted.get(metric) ?? [])])]);
      for (const label of labels) if (!known.has(label)) wrong.push(`${expression.place}: no label ${label}`);
    }
    expect(wrong).toEqual([]);
  });

  it("count from the start what an alert counts, so that its first event is an increase", async () => {
    const selectors = (await expressionsOfAlerts()).flatMap(selectorsIn).filter(({ metric }) => /_total$/.test(metric));
    expect(selectors.length).toBeGreaterThan(6);
    expect(selectors.flatMap(({ matchers }) => matchers).length).toBeGreaterThan(2);
    for (const [node, start] of atStart.entries()) {
      for (const selector of selectors) {
        const known = seriesOf(start, selector.metric);
        expect([selector, known.filter((labels) => matches(labels, selector)).length]).not.toEqual([selector, 0]);
        // No series begins later, with its first event.
        const later = seriesOf(atEnd[node] ?? "", selector.metric);
        expect(later.length).toBeGreaterThanOrEqual(known.length);
        expect(known).toEqual(expect.arrayContaining(later));
      }
    }
  });

  it("leave no metric of the transport unknown to the operator's page", async () => {
    const readme = await readFile(`${folder}README.md`, "utf8");
    const transport = [...emitted.keys()].filter((name) => /^blixard_transport_.*(?<!_bucket|_sum|_count)$/.test(name));
    expect(transport.filter((name) => !readme.includes(name))).toEqual([]);
    expect(transport.length).toBeGreaterThan(10);
    // And the page names no metric and no label that is not there.
    const named = [...readme.matchAll(/`(blixard_\w+)(?:\{([\w,]+)\})?`/g)];
    expect(named.length).toBeGreaterThan(transport.length);
    for (const [, name = "", labels] of named) {
      const metric = emitted.has(name) ? name : `${name}_count`;
      expect([name, ...(labels?.split(",").sort() ?? [])]).toEqual([name, ...[...(emitted.get(metric) ?? [])].sort()]);
    }
  });
});
