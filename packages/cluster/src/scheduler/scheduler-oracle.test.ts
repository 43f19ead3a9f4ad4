/**
 * The scheduler against one that looks at every node by itself and knows nothing of how the other does it, over 10,000 small
 * clusters from a seed.
 */
import type { NodeRecord, VmAffinity, VmSpec } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { sampleNode, sampleSpec } from "../testing/command-samples.ts";
import { demoImage } from "../testing/memory-vm-manager.ts";
import { schedule } from "./scheduler.ts";
import type { PlacedVm, PlacementRequest, SchedulerOptions } from "./scheduler-types.ts";
import type { Usage } from "./usage.ts";

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const zones = ["a", "b"];
const apps = ["web", "db"];
const constraints = ["zone=a", "zone!=a", "gpu", "!gpu", "zone in (a,b)", "zone notin (b)"];

interface Cluster {
  readonly request: PlacementRequest;
  readonly options: SchedulerOptions;
}

function clusterOf(seed: number): Cluster {
  const random = randomOf(seed);
  const chance = (part: number) => random() < part;
  const upTo = (max: number) => Math.floor(random() * (max + 1));
  const pick = <T>(values: readonly T[]): T => values[upTo(values.length - 1)] as T;
  const rule = (): VmAffinity => ({
    type: pick(["near", "apart"] as const),
    vms: { app: pick(apps) },
    ...(chance(0.5) ? { topology: pick(["zone", "node"]) } : {}),
    ...(chance(0.4) ? { soft: true } : {}),
  });
  const placement = (): VmSpec["placement"] => ({
    ...(chance(0.3) ? { constraints: [pick(constraints)] } : {}),
    ...(chance(0.5) ? { affinity: Array.from({ length: upTo(2) }, rule) } : {}),
    ...(chance(0.3) ? { spread: pick(["zone", "node"]) } : {}),
  });
  const records = Array.from({ length: 1 + upTo(3) }, (_, at): NodeRecord => {
    const labels = { ...(chance(0.8) ? { zone: pick(zones) } : {}), ...(chance(0.3) ? { gpu: "" } : {}) };
    return sampleNode(at + 1, {
      role: pick(["voter", "voter", "worker", "learner"] as const),
      cordoned: chance(0.1),
      labels,
      capacity: {
        vcpus: 1 + upTo(3),
        memoryMiB: 256 * (1 + upTo(3)),
        drivers: chance(0.95) ? ["fake"] : [],
        ...(chance(0.7) ? { disk: { totalMiB: 1_024 * upTo(4), freeMiB: 1_024 * upTo(4) } } : {}),
      },
    });
  });
  const vms = Array.from({ length: upTo(4) }, (): PlacedVm => {
    const wishes = chance(0.4) ? placement() : undefined;
    return {
      node: pick(records),
      labels: chance(0.8) ? { app: pick(apps) } : {},
      ...(wishes === undefined ? {} : { placement: wishes }),
    };
  });
  const usage = new Map(
    records.map(({ id }): [number, Usage] => [
      id,
      { vms: upTo(3), vcpus: upTo(4), memoryMiB: 64 * upTo(8), diskMiB: 1_024 * upTo(3) },
    ]),
  );
  const wanted = placement();
  const spec = sampleSpec({
    vcpus: 1 + upTo(2),
    memoryMiB: 64 * (1 + upTo(4)),
    ...(chance(0.4) ? { disks: [{ name: "data", sizeGiB: 1 + upTo(1) }] } : {}),
    ...(wanted === undefined ? {} : { placement: wanted }),
  });
  const image = { ...demoImage, builtin: chance(0.5), sources: records.filter(() => chance(0.5)).map(({ id }) => id) };
  const nodes = records.map((record) => ({
    record,
    reachable: chance(0.9),
    ...(chance(0.05) ? { refusal: "for another reason" } : {}),
  }));
  const labels = chance(0.8) ? { app: pick(apps) } : {};
  return {
    request: { spec, labels, image, nodes, usage, vms },
    options: {
      strategy: pick(["spread", "binpack"] as const),
      vcpuOvercommit: pick([1, 1.5, 2]),
      diskOvercommit: pick([0.5, 1, 2]),
      overheadMemoryMiB: 64,
    },
  };
}

type Labelled = Readonly<Record<string, string>> | undefined;

/** What the words of a selector say, one case after the other. */
function isChosen(constraint: string, { zone, gpu }: { zone?: string; gpu?: string }): boolean {
  const meanings: Record<string, boolean> = {
    "zone=a": zone === "a",
    "zone!=a": zone !== "a",
    gpu: gpu !== undefined,
    "!gpu": gpu === undefined,
    "zone in (a,b)": zone === "a" || zone === "b",
    "zone notin (b)": zone !== "b",
  };
  return meanings[constraint] ?? false;
}

function samePlace(one: Pick<NodeRecord, "id" | "labels">, other: Pick<NodeRecord, "id" | "labels">, key = "node") {
  if (key === "node") return one.id === other.id;
  return one.labels?.[key] !== undefined && one.labels[key] === other.labels?.[key];
}

const hasAll = (labels: Labelled, wanted: Labelled) =>
  Object.entries(wanted ?? {}).every(([key, value]) => labels?.[key] === value);

function isKept({ vms, labels }: PlacementRequest, rule: VmAffinity, node: NodeRecord): boolean {
  const named = vms.filter((vm) => hasAll(vm.labels, rule.vms));
  const beside = named.filter((vm) => samePlace(vm.node, node, rule.topology));
  if (rule.type === "apart") return beside.length === 0;
  const hasPlace = (rule.topology ?? "node") === "node" || node.labels?.[rule.topology ?? ""] !== undefined;
  return beside.length > 0 || (named.length === 0 && hasAll(labels, rule.vms) && hasPlace);
}

/** What is free of a node once the VM is there; one of them below 0 means that it is not to be there. */
function leftOf({ request, options }: Cluster, node: NodeRecord): number[] {
  const used = request.usage.get(node.id);
  const { vcpus = 0, memoryMiB = 0, diskMiB = 0 } = used ?? {};
  const need = 1_024 * (request.spec.disks?.[0]?.sizeGiB ?? 0);
  const { disk } = node.capacity;
  const disks =
    disk === undefined || need === 0
      ? []
      : [disk.totalMiB * options.diskOvercommit - diskMiB - need, disk.freeMiB * options.diskOvercommit - need];
  return [
    node.capacity.memoryMiB - memoryMiB - request.spec.memoryMiB - 64,
    Math.floor(node.capacity.vcpus * options.vcpuOvercommit) - vcpus - request.spec.vcpus,
    ...disks,
  ];
}

function mayBe(cluster: Cluster, at: number): boolean {
  const { request } = cluster;
  const node = request.nodes[at];
  if (node === undefined) return false;
  const { record, reachable, refusal } = node;
  const takesVms = ["voter", "worker"].includes(record.role) && !record.cordoned && record.capacity.drivers.length > 0;
  if (!takesVms || !reachable || refusal !== undefined) return false;
  const { constraints: asked = [], affinity = [] } = request.spec.placement ?? {};
  if (!asked.every((each) => isChosen(each, record.labels ?? {}))) return false;
  if (!affinity.every((rule) => rule.soft || isKept(request, rule, record))) return false;
  const isUnwanted = request.vms.some((vm) =>
    vm.placement?.affinity?.some(
      ({ type, soft, vms, topology }) =>
        type === "apart" && !soft && hasAll(request.labels, vms) && samePlace(vm.node, record, topology),
    ),
  );
  return !isUnwanted && leftOf(cluster, record).every((left) => left >= 0);
}

/** As the table at the top of `scheduler.ts` says it. */
function pointsOf(cluster: Cluster, node: NodeRecord, others: readonly NodeRecord[]): number {
  const { request, options } = cluster;
  const { spec, labels, image, usage, vms } = request;
  const packs = options.strategy === "binpack";
  const vmsAt = (id: number) => usage.get(id)?.vms ?? 0;
  const most = Math.max(...others.map(({ id }) => vmsAt(id)));
  const few = most === 0 ? 100 : Math.floor((100 * (most - vmsAt(node.id))) / most);
  const many = most === 0 ? 0 : Math.floor((100 * vmsAt(node.id)) / most);
  const { memoryMiB = 0, vcpus = 0, diskMiB = 0 } = usage.get(node.id) ?? {};
  const need = 1_024 * (spec.disks?.[0]?.sizeGiB ?? 0);
  const { disk } = node.capacity;
  const taken = [
    (memoryMiB + spec.memoryMiB + 64) / node.capacity.memoryMiB,
    (vcpus + spec.vcpus) / Math.floor(node.capacity.vcpus * options.vcpuOvercommit),
    ...(disk === undefined || need === 0
      ? []
      : [(diskMiB + need) / Math.floor(disk.totalMiB * options.diskOvercommit)]),
  ];
  const load = Math.floor(Math.max(...taken.map((part) => 100 * part)) + 1e-9);
  const soft = (spec.placement?.affinity ?? []).filter((rule) => rule.soft && isKept(request, rule, node));
  const key = spec.placement?.spread;
  const crowd = (at: NodeRecord) => vms.filter((vm) => hasAll(vm.labels, labels) && samePlace(vm.node, at, key)).length;
  const crowded = Math.max(...others.map(crowd));
  const placed = key === "node" || (key !== undefined && node.labels?.[key] !== undefined);
  const even = crowded === 0 ? 300 : Math.floor((300 * (crowded - crowd(node))) / crowded);
  return (
    (packs ? many + load : few + 100 - load) +
    (image.builtin || image.sources.includes(node.id) ? 20 : 0) +
    150 * soft.length +
    (placed ? even : 0)
  );
}

describe("schedule against a brute-force oracle", () => {
  it("places a VM where it may be, best where it has the most points, and nowhere only if no node will do", () => {
    let placed = 0;
    let pending = 0;
    for (let seed = 1; seed <= 10_000; seed++) {
      const cluster = clusterOf(seed);
      const records = cluster.request.nodes.map(({ record }) => record);
      const fitting = records.filter((_, at) => mayBe(cluster, at));
      const scores = fitting.map((node) => pointsOf(cluster, node, fitting));
      const best = fitting[scores.indexOf(Math.max(...scores))]?.id;
      const decision = schedule(cluster.request, cluster.options);
      const got = decision.ok ? decision.nodeId : undefined;
      const points = decision.nodes
        .flatMap((verdict) => (verdict.fits ? [[verdict.nodeId, verdict.score]] : []))
        .sort();
      const wanted = fitting.map(({ id }, at) => [id, scores[at]]);
      if (got !== best || JSON.stringify(points) !== JSON.stringify(wanted)) {
        throw new Error(
          `seed ${seed}: node ${got} with ${JSON.stringify(points)}, not ${best} with ${JSON.stringify(wanted)}`,
        );
      }
      if (decision.ok) placed++;
      else pending++;
    }
    // The clusters are neither all full nor all empty.
    expect(Math.min(placed, pending)).toBeGreaterThan(2_000);
  });
});
