/**
 * Brings a rotation of the key of this node to its end. It looks at levels, so that a node that crashed goes on where it was:
 *
 *     no next key in its record ---------------------------> nothing
 *     a member does not know the next key yet -------------> waits for it
 *     user data of a VM cannot be opened with it yet ------> waits for the leader
 *     all of them know it ---------------------------------> the key file changes, and the node starts again
 *     this process runs with the next key already ---------> tells the leader, and the key of before is banned
 */
import { pauseFor, toHex } from "@blixard/common";
import { type KeyChange, keyChangeBytes } from "@blixard/protocol";
import type { CallRouter } from "../calls/call-router.ts";
import { nodeMeta } from "../calls/peer-calls.ts";
import { randomRequestId } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import { progressOf, votes } from "../peers/reachability.ts";
import type { KeyRotation } from "../ports/key-rotation.ts";
import { changeOf } from "../services/node-key.ts";
import { keyNames } from "../state-machine/secret.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";

export interface OwnKeyDeps {
  readonly parts: Pick<
    NodeParts,
    | "clock"
    | "logger"
    | "raft"
    | "random"
    | "options"
    | "identity"
    | "peerCalls"
    | "signatures"
    | "stateMachine"
    | "transport"
  >;
  readonly router: Pick<CallRouter, "call">;
  readonly loop: LoopDeps;
  readonly rotation: KeyRotation;
}

const tellTimeoutMs = 10_000;
const askAgainMs = 500;

export class OwnKeyDuty {
  readonly #deps: OwnKeyDeps;
  #missing = "";

  constructor(deps: OwnKeyDeps) {
    this.#deps = deps;
  }

  /** Runs until `signal` aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void> {
    const { stateMachine } = this.#deps.parts;
    let seen = -1;
    return runLoop(this.#deps.loop, "own-key", signal, async () => {
      const { changed } = await stateMachine.version.until((next) => next.changed.nodes !== seen, { signal });
      if (await this.#settle(signal)) seen = changed.nodes;
    });
  }

  /** Returns whether there is nothing to do until the state changes. */
  async #settle(signal: AbortSignal): Promise<boolean> {
    const { parts, rotation } = this.#deps;
    const { stateMachine, options, transport, clock, logger } = parts;
    const own = stateMachine.state.nodes.get(nodeKey(options.nodeId));
    const change = own === undefined ? undefined : changeOf(own);
    if (own?.nextKey === undefined || change === undefined) return true;
    if (transport.endpointId === change.nextEndpointId) {
      await this.#tell(change, signal);
      return true;
    }
    const missing = await this.#notKnownTo(own.nextKey.index, signal);
    if (signal.aborted) return true;
    if (missing.length > 0) {
      if (missing.join() !== this.#missing) {
        this.#missing = missing.join();
        logger.log("info", "the next key of this node waits until every member knows it", { missing: this.#missing });
      }
      await pauseFor(clock, askAgainMs, signal);
      return false;
    }
    if (waitsForSecrets(stateMachine.state, change.endpointId, change.nextEndpointId)) {
      await pauseFor(clock, askAgainMs, signal);
      return false;
    }
    logger.log("info", "every member knows the next key of this node: it starts again with it", {
      endpointId: change.nextEndpointId,
    });
    await rotation.use(change.nextEndpointId);
    return true;
  }

  async #tell(change: KeyChange, signal: AbortSignal): Promise<void> {
    const { parts, router } = this.#deps;
    const { random, signatures, identity, options } = parts;
    const signature = toHex(signatures.sign(keyChangeBytes("use", identity().clusterId, change)));
    const meta = nodeMeta(options.nodeId, randomRequestId(random), tellTimeoutMs);
    await router.call("node.useKey", { change, signature }, meta, { signal });
  }

  /**
   * The other members that do not know what the entry says. Voters have to say so themselves; of the others, some of which this
   * node may never reach, it is enough that the leader knows that they have the entry.
   */
  async #notKnownTo(index: number, signal: AbortSignal): Promise<number[]> {
    const { stateMachine, options, peerCalls, raft } = this.#deps.parts;
    const answers = await peerCalls.askMembers("status.get", {}, { signal });
    const ofLeader = answers.get(raft.status.value.leaderId)?.members ?? [];
    const hasEntry = (id: number) =>
      (progressOf({ raft }, id)?.match ?? ofLeader.find((member) => member.id === id)?.matchIndex ?? 0) >= index;
    return [...stateMachine.state.nodes.values()]
      .filter((node) => node.id !== options.nodeId)
      .filter((node) => (answers.get(node.id)?.appliedIndex ?? 0) < index && (votes(node) || !hasEntry(node.id)))
      .map(({ id }) => id);
  }
}

/** Whether something is sealed to the present key and not to the next one: with it nobody might be left who can open that. */
function waitsForSecrets({ secrets }: ClusterState, present: string, next: string): boolean {
  return [...secrets.values()].some((sealed) => {
    const keys = keyNames(sealed);
    return keys.includes(present) && !keys.includes(next);
  });
}
