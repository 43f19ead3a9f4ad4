/**
 * Chooses a node for a VM: a pure function of what the leader knows. Nodes that cannot take the VM are filtered out, each with
 * its reason. The others get points, and the one with the most is taken; of several, the one with the lowest id.
 *
 *     criterion  points     for
 *     vms        0 to 100   spread: few VMs of those that there are on the nodes that fit; binpack: many
 *     load       0 to 100   spread: what stays free of what is scarcest there, in percent; binpack: what is taken
 *     image      20         a node that has the image
 *     affinity   150 each   a soft rule that is kept
 *     spread     0 to 300   few VMs with the labels of this one in the place of the node
 */
import { type Criterion, driverRefusal, type NodeCapacity, type NodeRecord, type NodeVerdict } from "@blixard/protocol";
import { Affinity } from "./affinity.ts";
import { loadPercent, roomRefusal } from "./room.ts";
import type { PlacementDecision, PlacementRequest, SchedulerNode, SchedulerOptions } from "./scheduler-types.ts";
import { noUsage } from "./usage.ts";

const imagePoints = 20;
const wishPoints = 150;
const spreadPoints = 300;
const evenPoints = 100;

type Fitting = Extract<NodeVerdict, { readonly fits: true }>;

export function schedule(request: PlacementRequest, options: SchedulerOptions): PlacementDecision {
  const nodes = [...request.nodes].sort((a, b) => a.record.id - b.record.id);
  const affinity = new Affinity(request);
  const fitting: NodeRecord[] = [];
  const refused: Extract<NodeVerdict, { readonly fits: false }>[] = [];
  for (const node of nodes) {
    const reason = refusalOf(node, request, affinity, options);
    if (reason === undefined) fitting.push(node.record);
    else refused.push({ nodeId: node.record.id, fits: false, reason });
  }
  const ranked = scored(fitting, request, affinity, options).sort((a, b) => b.score - a.score || a.nodeId - b.nodeId);
  const verdicts: readonly NodeVerdict[] = [...ranked, ...refused];
  const refusals = refused.map(({ nodeId, reason }) => `node ${nodeId}: ${reason}`);
  const [best] = ranked;
  if (best === undefined) return noCapacity(nodes.length, refusals, verdicts);
  const reasons = [...ranked.map(pointsText), ...refusals].join("; ").slice(0, reasonsLengthMax);
  return { ok: true, nodeId: best.nodeId, reasons, nodes: verdicts };
}

const reasonsLengthMax = 1_024;

/** `node 2: 187 points (vms 100, load 87)`. */
function pointsText({ nodeId, score, points }: Fitting): string {
  const parts = points.map(({ criterion, points: given }) => `${criterion} ${given}`).join(", ");
  return `node ${nodeId}: ${score} points (${parts})`;
}

function noCapacity(count: number, refusals: readonly string[], nodes: readonly NodeVerdict[]): PlacementDecision {
  const why = refusals.length === 0 ? "there is no node" : refusals.join("; ");
  return {
    ok: false,
    code: "NO_CAPACITY",
    message: `0 of ${count} nodes fit: ${why}`.slice(0, reasonsLengthMax),
    hint: "Ask for less, free some room, or add a node.",
    nodes,
  };
}

function scored(
  nodes: readonly NodeRecord[],
  request: PlacementRequest,
  affinity: Affinity,
  options: SchedulerOptions,
): Fitting[] {
  const { spec, image, usage } = request;
  const isSpread = options.strategy === "spread";
  const vmsOn = ({ id }: NodeRecord) => (usage.get(id) ?? noUsage).vms;
  const vmsMax = Math.max(0, ...nodes.map(vmsOn));
  const { spread } = spec.placement ?? {};
  const crowdMax = spread === undefined ? 0 : Math.max(0, ...nodes.map((node) => affinity.crowd(node, spread) ?? 0));
  return nodes.map((node): Fitting => {
    const load = loadPercent(node.capacity, usage.get(node.id) ?? noUsage, request, options);
    const vms = vmsOn(node);
    const points = [
      pointsFor("vms", isSpread ? share(vmsMax - vms, vmsMax, evenPoints) : fullShare(vms, vmsMax)),
      pointsFor("load", isSpread ? evenPoints - load : load),
      ...(image.builtin || image.sources.includes(node.id) ? [pointsFor("image", imagePoints)] : []),
      ...(spec.placement?.affinity?.some(({ soft }) => soft === true)
        ? [pointsFor("affinity", wishPoints * affinity.wishes(node))]
        : []),
      ...(spread === undefined ? [] : [pointsFor("spread", crowdPoints(affinity.crowd(node, spread), crowdMax))]),
    ];
    return { nodeId: node.id, fits: true, score: points.reduce((sum, each) => sum + each.points, 0), points };
  });
}

function pointsFor(criterion: Criterion, points: number) {
  return { criterion, points };
}

/** Where all are alike, all have the whole. */
function share(part: number, whole: number, points: number): number {
  return whole === 0 ? points : Math.floor((points * part) / whole);
}

function fullShare(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.floor((evenPoints * part) / whole);
}

function crowdPoints(crowd: number | undefined, crowdMax: number): number {
  return crowd === undefined ? 0 : share(crowdMax - crowd, crowdMax, spreadPoints);
}

/** Why `node` cannot take the VM; undefined when it can. */
function refusalOf(
  node: SchedulerNode,
  request: PlacementRequest,
  affinity: Affinity,
  options: SchedulerOptions,
): string | undefined {
  const { record } = node;
  if (!runsVms(record)) return `a ${record.role} runs no VMs`;
  if (record.leaving) return "it is leaving the cluster";
  if (record.cordoned) return "it is cordoned";
  if (node.refusal !== undefined) return node.refusal;
  if (!node.reachable) return "it does not answer";
  return (
    driversRefusal(record.capacity, request) ??
    affinity.refusal(record) ??
    roomRefusal(record, request.usage.get(record.id) ?? noUsage, request, options)
  );
}

/** Whether VMs may be placed on a node of this role. A learner only follows, and a witness only votes. */
export function runsVms(node: Pick<NodeRecord, "role">): boolean {
  return node.role === "voter" || node.role === "worker";
}

function driversRefusal({ drivers, capabilities }: NodeCapacity, request: PlacementRequest): string | undefined {
  if (drivers.length === 0) return "it has no VM driver";
  // A node of a release that publishes no capabilities looks itself, when it starts the VM.
  if (capabilities === undefined) return undefined;
  const reasons = capabilities.map((driver) => driverRefusal(driver.kind, driver, request));
  // One driver that can is enough; otherwise the best one says why not.
  return reasons.includes(undefined) ? undefined : reasons[0];
}
