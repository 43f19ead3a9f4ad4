/**
 * Keeps the administrator's token of this node what the state says: a voter has one, which stands in the list of all tokens,
 * and nobody else has. It is made when the node becomes a voter and again when somebody rotates it, and goes when somebody
 * revokes it or the node votes no more. A text that the state does not know was put there by who owns the data directory.
 */
import { fromUtf8, toHex, Watch } from "@blixard/common";
import type { CallRouter } from "../calls/call-router.ts";
import { nodeMeta } from "../calls/peer-calls.ts";
import type { StateVersion } from "../cluster-state-machine.ts";
import { randomRequestId } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import type { OwnTokenStore } from "../ports/own-token.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { nodeKey } from "../state-machine/state.ts";
import { ownTokenOf, ownTokensLevel } from "../state-machine/token.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";

export interface OwnTokenDeps {
  readonly parts: Pick<NodeParts, "random" | "sha256" | "options" | "stateMachine" | "logger">;
  readonly router: Pick<CallRouter, "call">;
  readonly loop: LoopDeps;
  readonly store: OwnTokenStore;
  readonly caughtUp: (signal: AbortSignal) => Promise<void>;
}

const tokenBytes = 32;
const registerTimeoutMs = 10_000;

export class OwnTokenDuty {
  readonly #deps: OwnTokenDeps;
  /** SHA-256 of the text that was read last, hexadecimal. */
  #hash: string | undefined;
  /** Of a text that a record had without saying whose it is, as before level 3: when that is gone, somebody revoked it. */
  #recordedHash: string | undefined;
  /** Whether the token is what the state says. */
  readonly settled = new Watch(false);

  constructor(deps: OwnTokenDeps) {
    this.#deps = deps;
  }

  /** Whether this is the hash of a token that the state cannot know yet: members of before level 3 could not be told. */
  isUnregistered(hash: string): boolean {
    const { stateMachine, options } = this.#deps.parts;
    const { state } = stateMachine;
    const isVoter = state.nodes.get(nodeKey(options.nodeId))?.role === "voter";
    const isKnown = hash === this.#recordedHash || ownTokenOf(state, options.nodeId) !== undefined;
    return isVoter && hash === this.#hash && !isKnown;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { parts, loop, caughtUp } = this.#deps;
    const { stateMachine } = parts;
    this.#hash = this.#hashOf(await this.#deps.store.read().catch(() => undefined));
    await caughtUp(signal).catch(() => {});
    let seen = -1;
    await runLoop(loop, "own-token", signal, async () => {
      const version = await stateMachine.version.until((next) => changeOf(next) !== seen, { signal });
      await this.#settle(signal);
      this.settled.set(true);
      seen = changeOf(version);
    });
  }

  async #settle(signal: AbortSignal): Promise<void> {
    const { parts, store, router } = this.#deps;
    const { stateMachine, options, random } = parts;
    const { state } = stateMachine;
    const node = state.nodes.get(nodeKey(options.nodeId));
    if (node === undefined) return;
    const text = await store.read();
    this.#hash = this.#hashOf(text);
    if (node.role !== "voter") return this.#drop(text, `a ${node.role} has none`);
    const own = ownTokenOf(state, node.id);
    const isKnown = own?.tokenHash !== undefined && own.tokenHash === this.#hash;
    if ((own?.revoked && isKnown) || (own === undefined && this.#wasRevoked(state)))
      return this.#drop(text, "it was revoked");
    if (isKnown || (own?.revoked && text === undefined) || node.leaving) return;
    // Without a text in the record, somebody has asked for a new one.
    const renewed = text === undefined || (own !== undefined && own.tokenHash === undefined && !own.revoked);
    if (renewed) await this.#write(toHex(random.bytes(tokenBytes)));
    if (clusterLevel(state) < ownTokensLevel || this.#hash === undefined) return;
    const meta = nodeMeta(node.id, randomRequestId(random), registerTimeoutMs);
    await router.call("token.own", { nodeId: node.id, tokenHash: this.#hash }, meta, { signal });
  }

  #wasRevoked({ tokens }: ClusterState): boolean {
    if (this.#hash === undefined) return false;
    const isRecorded = [...tokens.values()].some(({ tokenHash }) => tokenHash === this.#hash);
    if (isRecorded) this.#recordedHash = this.#hash;
    return !isRecorded && this.#recordedHash === this.#hash;
  }

  async #write(text: string): Promise<void> {
    await this.#deps.store.write(text);
    this.#hash = this.#hashOf(text);
    this.#deps.parts.logger.log("info", "this node has a new administrator's token");
  }

  async #drop(text: string | undefined, why: string): Promise<void> {
    if (text === undefined) return;
    await this.#deps.store.remove();
    this.#hash = undefined;
    this.#deps.parts.logger.log("info", "the administrator's token of this node is gone", { why });
  }

  #hashOf(text: string | undefined): string | undefined {
    return text === undefined ? undefined : toHex(this.#deps.parts.sha256(fromUtf8(text)));
  }
}

/** The index of the last change of the state on which the token depends. */
function changeOf({ changed }: StateVersion): number {
  return Math.max(changed.nodes, changed.tokens, changed.level);
}
