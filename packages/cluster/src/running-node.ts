/** A node that serves: the replicated state over Raft, the service that answers calls, and the duties, put together. */
import { type CloseStack, firstOf, fromUtf8, linkSignal, toHex, type Watch, withTimeLimit } from "@blixard/common";
import type {
  CallMeta,
  MethodName,
  NodeStatus,
  RequestOf,
  ResponseOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
} from "@blixard/protocol";
import { asNodeId } from "@blixard/raft";
import type { OpenBlob } from "@blixard/vm-manager";
import type { CallRouter } from "./calls/call-router.ts";
import type { AuthenticatedCaller, StreamScope } from "./calls/call-types.ts";
import { misdirected } from "./calls/misdirected.ts";
import type { CloseOptions, ClusterNode, Readiness } from "./cluster-node-types.ts";
import { diskPartOf, readableCopy, readableVolume, volumeFilesOf } from "./duties/disk-copy-plan.ts";
import { type NodeLifecycle, stopped } from "./node-lifecycle.ts";
import type { NodeParts } from "./node-parts.ts";
import { bestSuccessor } from "./peers/successor.ts";
import { statusOf } from "./services/cluster.ts";
import { ShownTokens } from "./services/shown-tokens.ts";
import type { Duties } from "./start/start-duties.ts";
import { ownTokenId } from "./state-machine/token.ts";
import type { ClusterState } from "./state-machine/types.ts";

const handOverMsDefault = 2_000;

export interface RunningNodeDeps {
  readonly parts: NodeParts;
  readonly router: CallRouter;
  readonly lifecycle: NodeLifecycle;
  readonly duties: Pick<Duties, "caughtUp" | "ownToken" | "ownLease">;
  /** All that the start has opened. */
  readonly opened: CloseStack<CloseOptions>;
}

export class RunningNode implements ClusterNode {
  readonly #parts: NodeParts;
  readonly #router: CallRouter;
  readonly #lifecycle: NodeLifecycle;
  readonly #caughtUp: Watch<boolean>;
  readonly #ownToken: Duties["ownToken"];
  readonly #ownLease: Duties["ownLease"];
  readonly #opened: CloseStack<CloseOptions>;
  readonly #shownTokens: ShownTokens;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  constructor({ parts, router, lifecycle, duties, opened }: RunningNodeDeps) {
    this.#parts = parts;
    this.#router = router;
    this.#lifecycle = lifecycle;
    this.#caughtUp = duties.caughtUp;
    this.#ownToken = duties.ownToken;
    this.#ownLease = duties.ownLease;
    this.#opened = opened;
    this.#shownTokens = new ShownTokens(parts);
  }

  get state(): ClusterState {
    return this.#parts.stateMachine.state;
  }

  get incarnation(): number {
    return this.#parts.identity().incarnation;
  }

  get lifecycle(): ClusterNode["lifecycle"] {
    return this.#lifecycle.watch;
  }

  call<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    meta: CallMeta,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<ResponseOf<Name>> {
    const { refusal } = this.#lifecycle;
    return refusal === undefined ? this.#router.call(name, request, meta, options) : Promise.reject(refusal);
  }

  async stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    meta: CallMeta,
    scope: StreamScope<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    this.#lifecycle.assertServing();
    return this.#router.stream(name, request, meta, scope);
  }

  authenticate(token: string): AuthenticatedCaller | undefined {
    const elsewhere = misdirected(this.state, this.#parts.options.nodeId);
    if (elsewhere !== undefined) throw elsewhere;
    return this.#shownTokens.holderOf(this.state, token) ?? this.#holderOfOwn(token);
  }

  #holderOfOwn(token: string): AuthenticatedCaller | undefined {
    const { sha256, options } = this.#parts;
    if (!this.#ownToken?.isUnregistered(toHex(sha256(fromUtf8(token))))) return undefined;
    return { actor: { kind: "token", id: ownTokenId(options.nodeId) }, access: "admin" };
  }

  async openDiskPart(id: string, reader: string | undefined): Promise<OpenBlob | undefined> {
    const wanted = diskPartOf(id);
    if (wanted === undefined || reader === undefined) return undefined;
    const { options, vmManager } = this.#parts;
    const vm = readableCopy(this.state, options.nodeId, { ...wanted, reader });
    const volumeFiles = readableVolume(this.state, options.nodeId, { ...wanted, reader });
    if (volumeFiles !== undefined) return await vmManager.diskCopies.openVolume(wanted.part, volumeFiles);
    if (vm === undefined) return undefined;
    return await vmManager.diskCopies.open(vm.vmId, wanted.part, volumeFilesOf(this.state, vm));
  }

  status(): NodeStatus {
    return statusOf(this.#parts);
  }

  ready(): Readiness {
    const { phase, error } = this.#lifecycle.watch.value;
    if (phase !== "serving") return { ready: false, reason: error?.message ?? `the node is ${phase}` };
    if (this.#parts.raft.status.value.leaderId === 0) return { ready: false, reason: "no leader is known" };
    if (!this.#caughtUp.value) return { ready: false, reason: "the node is catching up with the leader" };
    return { ready: true, reason: "" };
  }

  async untilOwnToken(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await this.#ownToken?.settled.until((settled) => settled, options);
  }

  async untilReady(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const link = linkSignal(options.signal);
    const followed = async (signal: AbortSignal) => {
      await this.#caughtUp.until((caughtUp) => caughtUp, { signal });
      await this.#parts.raft.status.until((status) => status.leaderId !== 0, { signal });
    };
    try {
      await firstOf(link.signal, (signal) => [
        followed(signal),
        this.lifecycle.until((now) => now.phase !== "serving", { signal }),
      ]);
    } finally {
      link.release();
    }
    const now = this.lifecycle.value;
    if (now.phase !== "serving") throw now.error ?? stopped();
  }

  isLeader(): boolean {
    return this.#parts.raft.status.value.ready;
  }

  async shutdown(options: Parameters<ClusterNode["shutdown"]>[0] = {}): Promise<void> {
    const { restartGraceMs = 0, stopVms = false } = options;
    if (!stopVms) await this.#ownLease.takeLong(restartGraceMs, this.#closing.signal);
    const successor = this.isLeader() ? bestSuccessor(this.#parts) : undefined;
    if (successor !== undefined) await this.#handOver(successor, options.handOverMs ?? handOverMsDefault);
    await this.close(options);
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closed ??= this.#close(options);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #handOver(successor: number, limitMs: number): Promise<void> {
    const { clock, logger, raft } = this.#parts;
    try {
      await withTimeLimit(clock, limitMs, this.#closing.signal, (signal) =>
        raft.transferLeader(asNodeId(successor), { signal }),
      );
    } catch (error) {
      logger.log("warn", "leadership could not be handed over", { error: String(error) });
    }
  }

  async #close(options: CloseOptions): Promise<void> {
    this.#closing.abort(stopped());
    const { error } = this.#lifecycle.watch.value;
    this.#lifecycle.becomeClosed();
    // The cluster does not know the VMs of a removed node any more: nobody could ever stop what it leaves running.
    await this.#opened.close(error?.code === "REMOVED" ? { ...options, stopVms: true } : options);
  }
}
