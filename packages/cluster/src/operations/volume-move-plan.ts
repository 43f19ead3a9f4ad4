/** The next step of a volume that goes to another node: it is that node's when all of it has come there. */
import type { VolumeRecord } from "@blixard/protocol";
import { nodeKey } from "../state-machine/state.ts";
import { cancelled, lateEnd, type NodeOperation, type OperationPlan, type PlanView } from "./plan-types.ts";
import { copyText } from "./vm-transit.ts";

/** Of 100, when all of it has come. */
const copiedPercent = 95;
const messageLengthMax = 512;

export function planVolumeMove(view: PlanView, operation: NodeOperation): OperationPlan {
  const { id, to = 0, volume: { name = "", volumeId } = {} } = operation;
  const volume = view.state.volumes.get(name);
  if (volume === undefined || volume.volumeId !== volumeId || volume.state === "deleting") {
    return cancelled("the volume was deleted");
  }
  if (volume.moving?.operation === id) return planCopy(view, operation, volume);
  if (volume.node !== to) return cancelled(`it is on node ${volume.node}`);
  // Its node says when it is in its place.
  const isThere = volume.came === undefined;
  const plan = { steps: [], waiting: [] };
  if (isThere) return { ...plan, percent: 100, message: `it is on node ${to}`, end: { state: "done" } };
  const message = `it is put in its place on node ${to}`;
  return { ...plan, percent: copiedPercent, message, ...lateEnd(operation, view.nowUnixMs, 1, "volume") };
}

function planCopy(view: PlanView, operation: NodeOperation, volume: VolumeRecord): OperationPlan {
  const { state, isReachable } = view;
  const { name, volumeId, node, moving } = volume;
  const { to = 0 } = operation;
  const { copy, epoch = 0 } = moving ?? {};
  const gone = [to, node].find((id) => !state.nodes.has(nodeKey(id)));
  if (gone !== undefined) return failed("NODE_NOT_FOUND", `node ${gone} was removed`);
  if (copy?.state === "failed") return failed(copy.code ?? "UNAVAILABLE", copy.message);
  if (copy?.state === "copied") {
    const step = { type: "volume.carry", name, volumeId, epoch } as const;
    // A node that leaves takes it no more.
    const late = lateEnd(operation, view.nowUnixMs, 1, "volume");
    return { steps: [step], percent: copiedPercent, message: `node ${to} has all of it`, waiting: [], ...late };
  }
  const silent = [node, to].find((id) => !isReachable(id));
  const { doneBytes = 0, wholeBytes = 0 } = copy ?? {};
  const part = wholeBytes === 0 ? 0 : Math.min(1, doneBytes / wholeBytes);
  const why = silent === undefined ? "" : `node ${silent} does not answer`;
  const told = copy === undefined ? `it goes to node ${to}` : copyText(copy, to, "it goes");
  const message = why === "" ? told : why;
  return {
    ...{ steps: [], waiting: [], percent: Math.floor(part * copiedPercent) },
    message: message.slice(0, messageLengthMax),
    ...lateEnd(operation, view.nowUnixMs, 1, "volume"),
  };
}

function failed(code: string, message: string): OperationPlan {
  const end = { state: "failed", error: { code, message } } as const;
  return { steps: [], percent: 0, message, waiting: [], end };
}
