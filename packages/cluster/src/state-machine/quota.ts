/** What the VMs of a project may take together. */
import {
  type CommandBodyOf,
  diskMiBOf,
  type Labels,
  limits,
  projectLabel,
  type Quota,
  type VmRecord,
  type VmSpec,
} from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { clusterKey } from "./state.ts";
import type { AppliersOf, ClusterState, Outcome } from "./types.ts";

type Amounts = Required<Quota>;

export const quotaAppliers: AppliersOf<"quota"> = { "quota.set": applySet };

function applySet(state: ClusterState, { project, quota }: CommandBodyOf<"quota.set">): Outcome {
  const cluster = state.cluster.get(clusterKey);
  if (cluster === undefined) return refuse("CONFLICT", "there is no cluster yet");
  const others = Object.entries(cluster.quotas ?? {}).filter(([name]) => name !== project);
  if (quota !== undefined && others.length >= limits.projectQuotasMax) {
    return refuse("CONFLICT", `there are ${limits.projectQuotasMax} quotas already`);
  }
  const all = quota === undefined ? others : [...others, [project, quota] as const];
  const quotas = Object.fromEntries([...all].sort(([a], [b]) => (a < b ? -1 : 1)));
  return done(null, [{ table: "cluster", key: clusterKey, value: { ...cluster, quotas } }]);
}

/** What the VMs of a project take, running or not. */
export function usedBy({ vms, images }: Pick<ClusterState, "vms" | "images">, project: string): Amounts {
  const used = { vms: 0, vcpus: 0, memoryMiB: 0, diskMiB: 0 };
  for (const { labels, spec } of vms.values()) {
    if (projectOf(labels) !== project) continue;
    const image = images.get(spec.image);
    used.vms++;
    used.vcpus += spec.vcpus;
    used.memoryMiB += spec.memoryMiB;
    used.diskMiB += image === undefined ? 0 : diskMiBOf(spec, image);
  }
  return used;
}

const words: Readonly<Record<keyof Quota, string>> = {
  vms: "VMs",
  vcpus: "virtual CPUs",
  memoryMiB: "MiB of memory",
  diskMiB: "MiB of disks",
};

/** Why a project cannot have one more VM like this; undefined when it can. */
export function quotaRefusal(state: ClusterState, spec: VmSpec, labels: Labels | undefined): Outcome | undefined {
  const needed = amountsOf(state, spec);
  return needed === undefined ? undefined : moreRefusal(state, needed, labels);
}

/** Why a VM cannot become another one; undefined when it can. What does not grow is not looked at. */
export function quotaChangeRefusal(
  state: ClusterState,
  before: Pick<VmRecord, "spec" | "labels">,
  after: Pick<VmRecord, "spec" | "labels">,
): Outcome | undefined {
  const [had, needed] = [amountsOf(state, before.spec), amountsOf(state, after.spec)];
  if (had === undefined || needed === undefined) return undefined;
  if (projectOf(before.labels) !== projectOf(after.labels)) return moreRefusal(state, needed, after.labels);
  const more = (what: keyof Amounts) => Math.max(0, needed[what] - had[what]);
  const growth = { vms: 0, vcpus: more("vcpus"), memoryMiB: more("memoryMiB"), diskMiB: more("diskMiB") };
  return moreRefusal(state, growth, after.labels);
}

function amountsOf({ images }: ClusterState, spec: VmSpec): Amounts | undefined {
  const image = images.get(spec.image);
  const { vcpus, memoryMiB } = spec;
  return image === undefined ? undefined : { vms: 1, vcpus, memoryMiB, diskMiB: diskMiBOf(spec, image) };
}

function moreRefusal(state: ClusterState, needed: Amounts, labels: Labels | undefined): Outcome | undefined {
  const project = projectOf(labels);
  const quotas = state.cluster.get(clusterKey)?.quotas ?? {};
  const quota = project !== undefined && Object.hasOwn(quotas, project) ? quotas[project] : undefined;
  if (project === undefined || quota === undefined) return undefined;
  const used = usedBy(state, project);
  for (const what of ["vms", "vcpus", "memoryMiB", "diskMiB"] as const) {
    const allowed = quota[what];
    if (allowed === undefined || needed[what] === 0 || used[what] + needed[what] <= allowed) continue;
    const message = `the project ${project} has ${used[what]} of ${allowed} ${words[what]}, and this is ${needed[what]} more`;
    return refuse("QUOTA_EXCEEDED", message, "See: blixard quota list");
  }
  return undefined;
}

/** Why the VMs of a project cannot have so much more of disks; undefined when they can. */
export function diskQuotaRefusal(
  state: ClusterState,
  labels: Labels | undefined,
  moreMiB: number,
): Outcome | undefined {
  if (moreMiB <= 0) return undefined;
  const project = projectOf(labels);
  const quotas = state.cluster.get(clusterKey)?.quotas ?? {};
  const allowed = project !== undefined && Object.hasOwn(quotas, project) ? quotas[project]?.diskMiB : undefined;
  if (project === undefined || allowed === undefined) return undefined;
  const { diskMiB } = usedBy(state, project);
  if (diskMiB + moreMiB <= allowed) return undefined;
  const message = `the project ${project} has ${diskMiB} of ${allowed} ${words.diskMiB}, and this is ${moreMiB} more`;
  return refuse("QUOTA_EXCEEDED", message, "See: blixard quota list");
}

function projectOf(labels: Labels = {}): string | undefined {
  return Object.hasOwn(labels, projectLabel) ? labels[projectLabel] : undefined;
}
