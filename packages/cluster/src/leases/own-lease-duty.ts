/**
 * Keeps the lease of this node: asks the leader again and again, and tells the VM manager how long its VMs may run. The lease is
 * counted from the question, on the clock that goes on while the machine sleeps.
 *
 * A lease begins only when this node has applied what the leader had committed when it granted it, and has taken back what was
 * given away by then: a node that was away long enough to lose VMs starts none of them again from the state that it knew.
 *
 *     usual <--- every leaseRenewMs ---> usual --the node is stopped: longLeaseMs--> long --started again--> usual, and says so
 */
import { pauseFor, SerialQueue, withTimeLimit } from "@blixard/common";
import type { RequestOf } from "@blixard/protocol";
import type { CallRouter } from "../calls/call-router.ts";
import { nodeMeta } from "../calls/peer-calls.ts";
import { type LoopDeps, runLoop } from "../duties/background-loop.ts";
import type { DesiredVms } from "../duties/desired-vms.ts";
import { randomRequestId } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { nodeKey } from "../state-machine/state.ts";
import { leasesLevel, policyOf } from "../state-machine/vm-move.ts";

export interface OwnLeaseDeps {
  readonly parts: Pick<NodeParts, "clock" | "logger" | "random" | "options" | "vmManager" | "stateMachine">;
  readonly router: Pick<CallRouter, "call">;
  readonly desired: DesiredVms;
  readonly loop: LoopDeps;
  /** Which start of the store of this node it is. */
  readonly starts: number;
}

const reasonLengthMax = 256;
const longLeaseTimeoutMs = 3_000;

export class OwnLeaseDuty {
  readonly #deps: OwnLeaseDeps;
  /** One question at a time, so that what is said of a long lease is said in this order. */
  readonly #asking = new SerialQueue();
  /** The node is about to be started again: it asks for no usual lease, which would end the long one. */
  #leaves = false;

  constructor(deps: OwnLeaseDeps) {
    this.#deps = deps;
  }

  /** Runs until `signal` aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void> {
    const { clock, options, stateMachine } = this.#deps.parts;
    return runLoop(this.#deps.loop, "own-lease", signal, async () => {
      await stateMachine.version.until(() => clusterLevel(stateMachine.state) >= leasesLevel, { signal });
      await this.#asking.run(() => this.#renew(signal));
      await pauseFor(clock, options.leaseRenewMs, signal);
    });
  }

  /** Takes a lease that lasts until the node is back. Never rejects: without one its VMs end when the usual one is over. */
  async takeLong(longLeaseMs: number, signal: AbortSignal): Promise<void> {
    const { parts, starts } = this.#deps;
    const { clock, logger, stateMachine, options } = parts;
    const { vms } = stateMachine.state;
    const needsOne = [...vms.values()].some((vm) => vm.node === options.nodeId && policyOf(vm).onPartition === "stop");
    if (longLeaseMs === 0 || !needsOne) return;
    this.#leaves = true;
    try {
      await withTimeLimit(clock, longLeaseTimeoutMs, signal, (limited) =>
        this.#asking.run(() => this.#ask({ longLease: { ms: longLeaseMs, starts } }, limited)),
      );
      logger.log("info", "the VMs of this node have a longer lease while it is away", { longLeaseMs });
    } catch (error) {
      const fields = { error: String(error) };
      logger.log("warn", "no longer lease for the VMs of this node: those that move may end before it is back", fields);
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { parts, starts } = this.#deps;
    const { stateMachine, options, vmManager } = parts;
    if (this.#leaves) return;
    const untilMs = await this.#ask({}, signal);
    const { longLease } = stateMachine.state.nodes.get(nodeKey(options.nodeId)) ?? {};
    if (untilMs === undefined || longLease === undefined || longLease.ms === 0 || longLease.starts >= starts) return;
    // It is back. What it holds now is no more than a usual lease, and only then it says so.
    await vmManager.leases.limit(untilMs);
    await this.#ask({ longLease: { ms: 0, starts } }, signal);
  }

  /** Resolves with the end of the lease; undefined when there is none. */
  async #ask(
    fields: Pick<RequestOf<"node.renewLease">, "longLease">,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { parts, router, desired } = this.#deps;
    const { random, options, vmManager, stateMachine } = parts;
    const { nodeId } = options;
    const { leases } = vmManager;
    const askedMs = leases.nowMs();
    const unguarded = (await leases.unguarded())?.slice(0, reasonLengthMax);
    const request = { nodeId, ...fields, ...(unguarded === undefined ? {} : { unguarded }) };
    const meta = nodeMeta(nodeId, randomRequestId(random), options.leaseMs / 2);
    const { leaseMs, index } = await router.call("node.renewLease", request, meta, { signal });
    await stateMachine.version.until((next) => next.appliedIndex >= index, { signal });
    if (leaseMs === 0) return undefined;
    vmManager.setDesired(desired.list);
    await leases.extend(askedMs + leaseMs);
    return askedMs + leaseMs;
  }
}
