/**
 * The leader sees to it that the user data of each VM can be opened by the voters and by the node that has the VM, and that
 * what is stored from now on can be opened by nobody else. It looks at levels, so a new leader goes on where the last one
 * stopped. What a node could open once, it may have kept: nothing takes that back.
 */
import { errorCodeOf, isBlixardError, messageOf, withTimeLimit } from "@blixard/common";
import type { CommandBody, SealedSecret } from "@blixard/protocol";
import { nodeMeta } from "../calls/peer-calls.ts";
import type { NodeParts } from "../node-parts.ts";
import { keyNames, sealedFor, secretContext } from "../state-machine/secret.ts";
import { sortedRecords } from "../state-machine/state.ts";
import { dutyIndex, waitForDuty } from "./wait-for-duty.ts";

/** What this duty uses of the node. */
type ResealParts = Pick<
  NodeParts,
  "clock" | "logger" | "metrics" | "options" | "raft" | "stateMachine" | "proposals" | "sealing" | "identity"
>;

const stepTimeoutMs = 5_000;

/** Runs until `signal` aborts. Never rejects. */
export async function runResealDuty(parts: ResealParts, signal: AbortSignal): Promise<void> {
  const { raft, logger, options, stateMachine, metrics } = parts;
  /** Told once: another leader has to do it. */
  const hopeless = new Set<string>();
  while (!signal.aborted) {
    await raft.status.until((status) => status.ready, { signal }).catch(() => {});
    if (signal.aborted) return;
    const seen = dutyIndex(stateMachine.version.value);
    try {
      await resealAll(parts, hopeless, signal);
    } catch (error) {
      if (signal.aborted) return;
      metrics.dutyFailures.add(1, { duty: "reseal" });
      const fields = { code: errorCodeOf(error), error: messageOf(error) };
      logger.log("warn", "user data of VMs could not be sealed anew; it is tried again", fields);
    }
    await waitForDuty(parts, seen, options.leaderIntervalMs, signal);
  }
}

async function resealAll(parts: ResealParts, hopeless: Set<string>, signal: AbortSignal): Promise<void> {
  const { stateMachine, sealing, logger, identity, raft } = parts;
  if (stateMachine.state.secrets.size === 0) return;
  for (const { vmId, name, node } of sortedRecords(stateMachine.state, "vms")) {
    const sealed = stateMachine.state.secrets.get(vmId);
    if (sealed === undefined || raft.coreStatus().role !== "StateLeader") continue;
    const wanted = sealedFor(stateMachine.state, node);
    if (keyNames(sealed).join() === wanted.join()) continue;
    const next = sealing.reseal(sealed, secretContext(identity().clusterId, vmId), wanted);
    if (next !== undefined) await propose(parts, vmId, next, signal);
    else if (!hopeless.has(vmId)) {
      hopeless.add(vmId);
      logger.log("warn", "this leader cannot open the user data of a VM: another voter has to lead once", { vm: name });
    }
  }
}

async function propose(
  { options, clock, proposals }: ResealParts,
  vmId: string,
  { ephemeralKey, keys }: SealedSecret,
  signal: AbortSignal,
): Promise<void> {
  const meta = { ...nodeMeta(options.nodeId, "", stepTimeoutMs), actor: { kind: "system", id: "leader" } } as const;
  const body: CommandBody = { type: "vm.reseal", vmId, ephemeralKey, keys: [...keys] };
  try {
    await withTimeLimit(clock, stepTimeoutMs, signal, (limited) => proposals.propose(body, { meta, signal: limited }));
  } catch (error) {
    // The VM is gone by now.
    if (!isBlixardError(error) || error.outcome !== "not_applied") throw error;
  }
}
