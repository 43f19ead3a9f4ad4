/**
 * `npm run bench -- profile [--load put] [--clients 64] [--value 100] [--where all] [--seconds 10] [--transport iroh]
 * [--nodes 3] [--top 20] [--keep FOLDER] [--json]`: the leader and a follower under a load, with a CPU profile of the main
 * thread summed by package and by function, the time of all threads, and what they counted: entries for each log write
 * and apply, frames, and in a second run syncs of the disk for each put. `--keep` writes the profiles for a viewer.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { LoadPlan } from "../load/load-plan.ts";
import { runLoad } from "../load/run-load.ts";
import { pairOptions, type Shape, shapeName } from "../pairs/shapes.ts";
import { type ThreadUsage, threadUsages } from "../proc/process-usage.ts";
import { unbundledBinary as binary } from "../sides/binary.ts";
import { type BlixardSide, startBlixard } from "../sides/blixard-side.ts";
import { countersOf } from "./counters.ts";
import { Inspector } from "./inspector.ts";
import { mainThread, type NodeProfile, type ProfileReport, textOfProfiles } from "./profile-text.ts";
import { type CpuProfile, sumProfile } from "./sum-profile.ts";
import { hasStrace, startSyncCount } from "./sync-count.ts";

/** V8 has compiled what is hot by then. */
const warmUpMs = 20_000;
const syncRunMs = 4_000;

interface Load {
  readonly shape: Shape;
  readonly durationMs: number;
}

export async function runProfileBench(args: readonly string[]): Promise<void> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ load: { ...text, default: "put" }, clients: { ...text, default: "64" }, value: text, where: text },
      ...{
        seconds: { ...text, default: "10" },
        transport: text,
        nodes: text,
        top: { ...text, default: "20" },
        keep: text,
      },
      json: { type: "boolean", default: false },
    },
  });
  const { shapes, settings, durationMs } = pairOptions({ ...values, rounds: "1" });
  const [shape, setting] = [shapes[0], settings[0]];
  if (shape === undefined || setting === undefined) return;
  const say = (line: string) => process.stderr.write(`bench: ${line}\n`);
  const side = await startBlixard({ binary, ...setting, onProgress: say });
  try {
    say(`warming up, then ${shapeName(shape)} for ${durationMs / 1_000} s`);
    await load(side, { shape, durationMs: warmUpMs }, "warm-up");
    const { report, profiles } = await profileNodes(side, { shape, durationMs });
    if (values.keep !== undefined) {
      mkdirSync(values.keep, { recursive: true });
      for (const [role, profile] of profiles) {
        writeFileSync(join(values.keep, `${role}.cpuprofile`), JSON.stringify(profile));
      }
    }
    const syncs = hasStrace() ? await countSyncs(side, { shape, durationMs: syncRunMs }, say) : {};
    const whole: ProfileReport = { ...report, setting, syncsPerPut: syncs };
    process.stdout.write(values.json ? `${JSON.stringify(whole)}\n` : textOfProfiles(whole, Number(values.top)));
  } finally {
    await side.close();
  }
}

/** The leader and the first that follows it; one node alone has no follower. */
async function rolesOf(side: BlixardSide): Promise<[role: string, node: number][]> {
  const leader = await side.leader();
  const follower = side.endpoints.findIndex((_, node) => node !== leader);
  return follower < 0
    ? [["leader", leader]]
    : [
        ["leader", leader],
        ["follower", follower],
      ];
}

async function profileNodes(side: BlixardSide, { shape, durationMs }: Load) {
  const roles = await rolesOf(side);
  const watched = await Promise.all(
    roles.map(async ([role, node]) => ({ role, node, inspector: await Inspector.open(await side.inspectorUrl(node)) })),
  );
  const pages = () => Promise.all(watched.map(({ node }) => side.metrics(node)));
  const threads = () => watched.map(({ node }) => threadUsages(side.pids()[node] ?? 0));
  let [metricsBefore, metricsAfter, threadsBefore, threadsAfter] = [[""], [""], threads(), threads()];
  let profiles: CpuProfile[] = [];
  const result = await load(side, { shape, durationMs }, "profile", {
    onBegin: async () => {
      metricsBefore = await pages();
      await Promise.all(watched.map(({ inspector }) => inspector.startProfile()));
      threadsBefore = threads();
    },
    onEnd: async () => {
      threadsAfter = threads();
      profiles = await Promise.all(watched.map(({ inspector }) => inspector.stopProfile()));
      metricsAfter = await pages();
    },
  });
  for (const { inspector } of watched) inspector.close();
  const nodes = watched.flatMap(({ role }, at): NodeProfile[] => {
    const profile = profiles[at];
    if (profile === undefined) return [];
    return [
      {
        role,
        sum: sumProfile(profile),
        threadMs: threadTimes(threadsBefore[at] ?? [], threadsAfter[at] ?? []),
        counters: countersOf(metricsBefore[at] ?? "", metricsAfter[at] ?? "", result.writes),
      },
    ];
  });
  const { operations, perSecond, p50Ms, p99Ms, failures } = result;
  const report = { shape: shapeName(shape), operations, perSecond, p50Ms, p99Ms, failures, nodes };
  return { report, profiles: profiles.map((profile, at) => [watched[at]?.role ?? "", profile] as const) };
}

/** Processor time by the name of the thread; the first thread is the one that runs JavaScript. */
function threadTimes(before: readonly ThreadUsage[], after: readonly ThreadUsage[]): Record<string, number> {
  const mainId = Math.min(...after.map(({ id }) => id));
  const times: Record<string, number> = {};
  for (const { id, name, cpuSeconds } of after) {
    const spentMs = (cpuSeconds - (before.find((thread) => thread.id === id)?.cpuSeconds ?? 0)) * 1_000;
    const key = id === mainId ? mainThread : name;
    times[key] = (times[key] ?? 0) + spentMs;
  }
  return times;
}

async function countSyncs(
  side: BlixardSide,
  order: Load,
  say: (line: string) => void,
): Promise<Record<string, number>> {
  say("counting syncs of the disk with strace, which slows the nodes");
  const counts = (await rolesOf(side)).map(([role, node]) => ({ role, pid: side.pids()[node] ?? 0 }));
  let running: { role: string; stop: () => Promise<number> }[] = [];
  const syncs: Record<string, number> = {};
  const { writes } = await load(side, order, "syncs", {
    onBegin: () => {
      running = counts.map(({ role, pid }) => ({ role, ...startSyncCount(pid) }));
    },
    onEnd: async () => {
      for (const { role, stop } of running) syncs[role] = await stop();
    },
  });
  return Object.fromEntries(Object.entries(syncs).map(([role, count]) => [role, count / writes]));
}

async function load(
  side: BlixardSide,
  { shape, durationMs }: Load,
  round: string,
  hooks: Parameters<typeof runLoad>[1] = {},
) {
  const { kind, clients, valueBytes, where } = shape;
  const leader = await side.leader();
  const endpoints = side.endpoints.filter((_, node) => where === "all" || (node === leader) === (where === "leader"));
  const plan: LoadPlan = { kind, round, clients, valueBytes, keysPerClient: 10, uniqueKeys: false };
  return await runLoad({ dialect: side.dialect, endpoints, plan, durationMs }, hooks);
}
