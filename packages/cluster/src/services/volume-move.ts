/** A volume goes to another node: what is asked is checked here, and becomes an operation. */
import { notApplied } from "@blixard/common";
import type { OperationRecord, VolumeRecord } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import { randomOperationId } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { volumeMiBOf } from "../scheduler/usage.ts";
import { isRemembered } from "../state-machine/apply-command.ts";
import { nodeOf } from "./node.ts";
import { refuseIfMatch } from "./propose.ts";
import { noRoom, refusalOf, roomHint, volumeOf } from "./volume.ts";

type MoveParts = Pick<
  NodeParts,
  "clock" | "random" | "options" | "raft" | "transport" | "stateMachine" | "proposals" | "leases" | "vmManager"
>;

export function volumeMoveHandlers(parts: MoveParts): Pick<Handlers, "volume.move"> {
  return {
    "volume.move": async ({ name, to, deadlineMs }, call) => {
      refuseIfMatch(call, "a volume that is moved");
      const { clock, random, stateMachine, proposals } = parts;
      const volume = volumeOf(parts, name);
      // What stands now says nothing about a request that was applied before: `apply` answers that.
      if (!isRemembered(stateMachine.state, call.meta) && volume.node !== to) assertMayGo(parts, volume, to);
      const operation = {
        ...{ id: randomOperationId(random), kind: "volume-move" as const, nodeId: volume.node, vms: [], to },
        ...{ volume: { name, volumeId: volume.volumeId }, deadlineUnixMs: clock.unixMs() + deadlineMs },
      };
      const body = { type: "operation.start", operation } as const;
      const { index, term, value } = await proposals.propose<{ operation: OperationRecord }>(body, call);
      return { index, term, operation: value.operation };
    },
  };
}

/** @throws NODE_NOT_FOUND, NODE_LOST, CONFLICT, NO_CAPACITY */
function assertMayGo(parts: MoveParts, volume: VolumeRecord, to: number): void {
  const { name, node } = volume;
  const refusal = refusalOf(nodeOf(parts, to), isReachable(parts, to));
  if (refusal !== undefined) {
    const hint = "Name another node. See: blixard nodes list";
    throw notApplied("CONFLICT", `the volume ${name} cannot go to node ${to}: ${refusal}`, { hint });
  }
  if (!isReachable(parts, node)) {
    const hint = "What is on it is there. Try again when that is back.";
    throw notApplied("NODE_LOST", `node ${node}, which has the volume ${name}, does not answer`, { hint });
  }
  const full = noRoom(parts, to, volumeMiBOf(volume));
  if (full !== undefined) throw notApplied("NO_CAPACITY", `node ${to}: ${full}`, { hint: roomHint });
}
