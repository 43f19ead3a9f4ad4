/**
 * `npm run bench -- transport`: what the ways between two processes cost, and what the Raft lane saves over Iroh. All
 * paths stay open side by side and take turns, so that a noisy moment of the machine meets all of them.
 */
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { type BenchRow, tableOf, tableOfRows } from "../bench-row.ts";
import { median } from "../statistics/medians.ts";
import { carrierNames } from "./carriers.ts";
import { laneNames } from "./lane.ts";
import { openPath, type Path } from "./path.ts";
import { cpuMicros, type PathName, type PeerMode } from "./peer-process.ts";
import { ackMessage, pingBytes, recordMessage } from "./traffic.ts";

const floodMs = 300;
const pingsPerRound = 1_000;
/** So many on one path, then on the next: what slows the machine down for a second slows down all of them alike. */
const pingsPerTurn = 50;
/** Round trips on each path before those that count: a node's code runs for days, and V8 optimises it in seconds. */
const warmUpPings = 4_000;
const batchMessages = 64;
const bulkWriteBytes = 64 * 1024;
const recordsRatioMin = 4;
const roundTripRatioMax = 1.3;

/** Values of one path by name of the column, one for each round; round trips have many. */
type Samples = Map<Column, number[]>;
type Column = keyof typeof columns;

const columns = {
  roundTripMs: "RTT P50 MS",
  roundTripP99Ms: "P99",
  messagesPerSecond: "MSG/S",
  batchedPerSecond: "MSG/S BY 64",
  bulkMiBPerSecond: "BULK MIB/S",
  sendNsPerByte: "CPU NS/B SENT",
  receiveNsPerByte: "RECEIVED",
  messageCpuMicros: "CPU US/RAFT MSG",
  recordCpuMicros: "US/VM RECORD",
} as const;

type Part = (paths: readonly Path[], samplesOf: (path: Path) => Samples) => Promise<void>;
const parts: Readonly<Record<string, Part>> = {
  roundtrip: measureRoundTrips,
  rate: oneByOne(measureRates),
  bulk: oneByOne(measureBulk),
  raft: oneByOne(measureRaft),
};

function oneByOne(measure: (path: Path, samples: Samples) => Promise<void>): Part {
  return async (paths, samplesOf) => {
    for (const path of paths) await measure(path, samplesOf(path));
  };
}

export async function runTransportBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: Object.keys(parts).join(",") },
      rounds: { type: "string", default: "5" },
      json: { type: "boolean", default: false },
    },
  });
  const wanted = values.only.split(",").map((name) => {
    const part = parts[name];
    if (part === undefined) throw new Error(`unknown part '${name}': use ${Object.keys(parts).join(", ")}`);
    return part;
  });
  const paths: Path[] = [];
  const samples = new Map<PathName, Samples>();
  try {
    for (const name of [...carrierNames, ...laneNames]) {
      paths.push(await openPath(name));
      samples.set(name, new Map());
    }
    process.stderr.write("bench: warming up\n");
    const nowhere = (): Samples => new Map();
    for (const part of Object.values(parts)) await part(paths, nowhere);
    for (let pings = 0; pings < warmUpPings; pings += pingsPerRound) await measureRoundTrips(paths, nowhere);
    for (let round = 1; round <= Number(values.rounds); round++) {
      process.stderr.write(`bench: round ${round} of ${values.rounds}\n`);
      for (const part of wanted) await part(paths, ({ name }) => samples.get(name) ?? new Map());
    }
  } finally {
    await Promise.all(paths.map((path) => path.close()));
  }
  report(samples, values.json);
}

function add(samples: Samples, column: Column, ...values: readonly number[]): void {
  samples.set(column, [...(samples.get(column) ?? []), ...values]);
}

async function measureRoundTrips(paths: readonly Path[], samplesOf: (path: Path) => Samples): Promise<void> {
  for (const { peer } of paths) await peer.begin("echo");
  for (let pings = 0; pings < pingsPerRound; pings += pingsPerTurn) {
    for (const path of paths) {
      const values: number[] = [];
      while (values.length < pingsPerTurn) {
        const startMs = performance.now();
        await path.ping();
        values.push(performance.now() - startMs);
      }
      add(samplesOf(path), "roundTripMs", ...values);
    }
  }
}

async function measureRates(path: Path, samples: Samples): Promise<void> {
  const { write } = path;
  if (write === undefined) return;
  for (const [column, messages] of [
    ["messagesPerSecond", 1],
    ["batchedPerSecond", batchMessages],
  ] as const) {
    const bytes = new Uint8Array(messages * pingBytes).fill(7);
    const { count, seconds } = await flood(path, "bytes", async () => {
      await write(bytes);
      return bytes.length;
    });
    add(samples, column, count / pingBytes / seconds);
  }
}

async function measureBulk(path: Path, samples: Samples): Promise<void> {
  const { write } = path;
  if (write === undefined) return;
  const bytes = new Uint8Array(bulkWriteBytes).map((_, at) => at * 31);
  const { count, seconds, ownMicros, peerMicros } = await flood(path, "bytes", async () => {
    await write(bytes);
    return bytes.length;
  });
  add(samples, "bulkMiBPerSecond", count / 1024 ** 2 / seconds);
  add(samples, "sendNsPerByte", (ownMicros * 1000) / count);
  add(samples, "receiveNsPerByte", (peerMicros * 1000) / count);
}

async function measureRaft(path: Path, samples: Samples): Promise<void> {
  for (const [column, messageOf] of [
    ["messageCpuMicros", ackMessage],
    ["recordCpuMicros", recordMessage],
  ] as const) {
    let sequence = 0;
    const { count, ownMicros, peerMicros } = await flood(path, "messages", async () => {
      await path.send(messageOf(sequence++));
      return 1;
    });
    add(samples, column, (ownMicros + peerMicros) / count);
  }
}

/** Sends for a while, and until the peer has all of it. */
async function flood(path: Path, mode: PeerMode, send: () => Promise<number>) {
  await path.peer.begin(mode);
  const startMicros = cpuMicros();
  const startMs = performance.now();
  let count = 0;
  while (performance.now() - startMs < floodMs) count += await send();
  const peerMicros = await path.peer.end(count);
  const seconds = (performance.now() - startMs) / 1000;
  return { count, seconds, ownMicros: cpuMicros() - startMicros, peerMicros };
}

type PathRow = { readonly path: PathName } & Readonly<Record<Column, number>>;
const columnNames = Object.keys(columns) as Column[];

function report(samples: ReadonlyMap<PathName, Samples>, json: boolean): void {
  const paths = [...samples].map(([path, of]) => rowOf(path, of));
  const own = paths.find(({ path }) => path === "lane/iroh");
  const bare = paths.find(({ path }) => path === "iroh");
  const rows = own === undefined || bare === undefined ? [] : barsOf(own, bare);
  process.stdout.write(json ? `${JSON.stringify({ paths, rows })}\n` : `${tableOfPaths(paths)}\n${tableOfRows(rows)}`);
}

function rowOf(path: PathName, samples: Samples): PathRow {
  const middles = columnNames.map((column) => [column, median(samples.get(column) ?? [])]);
  const roundTripP99Ms = percentile(samples.get("roundTripMs") ?? [], 0.99);
  return { path, ...(Object.fromEntries(middles) as Record<Column, number>), roundTripP99Ms };
}

/** The lane against the bare binding; a part that was not measured has no row. */
function barsOf(own: PathRow, bare: PathRow): BenchRow[] {
  const recordsRatio = bare.recordCpuMicros / own.recordCpuMicros;
  const roundTripRatio = own.roundTripMs / bare.roundTripMs;
  const rows: BenchRow[] = [
    {
      name: "VM records of 400 bytes, Raft lane over Iroh",
      value: 1e6 / own.recordCpuMicros,
      unit: "entries/CPU s",
      bar: `at least ${recordsRatioMin} times frames of one, not compressed`,
      ratio: recordsRatio,
      met: recordsRatio >= recordsRatioMin,
      note: "CPU of both processes",
    },
    {
      name: "round trip of 100 bytes, Raft lane over Iroh",
      value: own.roundTripMs,
      unit: "ms",
      bar: `at most ${roundTripRatioMax} times the bare binding`,
      ratio: roundTripRatio,
      met: roundTripRatio <= roundTripRatioMax,
      note: "p50",
    },
  ];
  return rows.filter(({ value }) => !Number.isNaN(value));
}

function tableOfPaths(paths: readonly PathRow[]): string {
  const text = (value: number) => (Number.isNaN(value) ? "-" : value.toFixed(value < 1 ? 3 : value < 1000 ? 1 : 0));
  const cells = paths.map((row) => [row.path, ...columnNames.map((name) => text(row[name]))]);
  return tableOf(["PATH", ...columnNames.map((name) => columns[name])], cells);
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
