/**
 * The network between simulated machines. The Raft lane loses, repeats, delays and reorders messages; calls are
 * carried as the real transport carries them, on ordered streams that break when the other side is silent for long.
 */

import type { ClusterEndpoint, ClusterPeer, ClusterTransport, ServedNode } from "@blixard/cluster";
import { abortReason, BlixardError, linkSignal, notApplied, offAbort, onAbort, type Random } from "@blixard/common";
import { forwardRpcMethod, fromRpcError, toRpcError } from "@blixard/protocol";
import type { PeerMessage, PeerTransportHandlers } from "@blixard/raft";
import { asNodeId, type NodeId } from "@blixard/raft/core";
import { between, chance } from "./seeds.ts";
import type { SimProcess } from "./sim-process.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface NetworkConditions {
  /** Share of messages that are lost, 0 to 1. */
  readonly loss: number;
  /** Share of messages that are delivered twice, 0 to 1. */
  readonly duplication: number;
  /** Share of messages that others overtake, 0 to 1. */
  readonly reordering: number;
  /** Share of messages of which a copy arrives seconds later, when terms and leaders have changed, 0 to 1. */
  readonly lateCopies: number;
  readonly delayMsMin: number;
  readonly delayMsMax: number;
}

export const calmNetwork: NetworkConditions = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  lateCopies: 0,
  delayMsMin: 0.2,
  delayMsMax: 2,
};

/** What answers calls. */
type Served = Pick<ServedNode, "call" | "stream" | "start" | "onNewerStartClaimed">;

/** Somebody at a node who sees what passes it, and may answer in its place. */
export interface Tap {
  /** A message that the node sends, or gets. */
  readonly sees: (message: PeerMessage) => void;
  /** What the node says to a call; undefined when it may answer itself. */
  readonly answer: (method: string) => Promise<Uint8Array> | undefined;
}

/** What somebody with the key of a node does to another one, whatever the node itself does. */
export interface Forgery {
  readonly delayMs: number;
  /** Runs in the receiver when the connection lets it through. */
  readonly arrives: (receiver: ForgeryReceiver) => void;
}

export interface ForgeryReceiver {
  readonly nodeId: number;
  readonly take: (message: PeerMessage) => void;
  /** The sender says that it knows a newer start of the receiver. */
  readonly hearNewerStart: () => void;
}

/** A call, or a stream that is opened and left again, of somebody with the key of a node. */
export interface ForgedCall {
  readonly method: string;
  readonly payload: Uint8Array;
  readonly opensStream: boolean;
  readonly timeoutMs: number;
  /** Runs in the receiver, around its answer. */
  readonly around: (nodeId: number, answer: () => Promise<Uint8Array>) => Promise<Uint8Array>;
}

interface Endpoint {
  readonly nodeId: number;
  readonly endpointId: string;
  readonly process: SimProcess;
  /** Of all processes that ever ran. */
  readonly instance: number;
  /** The process before it, with the same key. */
  readonly before: { readonly instance: number; readonly endedAtMs: number } | undefined;
  served: Served;
  handlers: PeerTransportHandlers | undefined;
  peers: readonly ClusterPeer[];
}

/** A call as it arrives. */
interface ServedCall extends Partial<Pick<ForgedCall, "opensStream" | "around">> {
  readonly method: string;
  readonly payload: Uint8Array;
  readonly signal: AbortSignal;
}

/** Sees each message as it leaves. */
export type MessageObserver = (from: number, to: number, message: PeerMessage) => void;

/** A session is broken when nothing was heard for so long; see the heartbeats of `@blixard/transport`. */
const silenceMs = 900;
/** What a lost packet of a stream costs. */
const retransmitMs = 200;
const overtakenMsMax = 200;
const lateMsMin = 500;
const lateMsMax = 10_000;

export class SimNetwork {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #observe: MessageObserver;
  readonly #endpoints = new Map<string, Endpoint>();
  /** Since when a direction, `from * 65536 + to`, delivers nothing. */
  readonly #blockedAtMs = new Map<number, number>();
  readonly #blocks = new Map<number, number>();
  readonly #lastDeliveryMs = new Map<number, number>();
  #instances = 0;
  conditions: NetworkConditions = calmNetwork;
  /** Share of messages that name their sender which another member sends on as its own, 0 to 1. */
  echoShare = 0;
  /** Milliseconds that everything on its way to a node takes longer. */
  readonly #lateMs = new Map<number, number>();
  /** By node. */
  readonly taps = new Map<number, Tap>();

  constructor(time: VirtualTime, random: Random, observe: MessageObserver) {
    this.#time = time;
    this.#random = random;
    this.#observe = observe;
  }

  /** Called when a call is answered, before the answer is on its way. */
  onAnswer: ((asker: number, method: string) => void) | undefined;

  /** By how many milliseconds the answers of the leader to the calls of a node are late. */
  readonly lateAnswersTo = new Map<number, number>();

  /** Stops one direction; faults that overlap each have to end before it delivers again. */
  block(from: number, to: number): void {
    const link = linkOf(from, to);
    this.#blocks.set(link, (this.#blocks.get(link) ?? 0) + 1);
    if (!this.#blockedAtMs.has(link)) this.#blockedAtMs.set(link, this.#time.nowMs);
  }

  unblock(from: number, to: number): void {
    const link = linkOf(from, to);
    const left = (this.#blocks.get(link) ?? 0) - 1;
    if (left > 0) {
      this.#blocks.set(link, left);
      return;
    }
    this.#blocks.delete(link);
    this.#blockedAtMs.delete(link);
  }

  /** From now on all messages to that node come so much later; 0 ends it. Calls do not. */
  delay(to: number, lateMs: number): void {
    if (lateMs === 0) this.#lateMs.delete(to);
    else this.#lateMs.set(to, lateMs);
  }

  heal(): void {
    this.echoShare = 0;
    this.#lateMs.clear();
    this.#blocks.clear();
    this.#blockedAtMs.clear();
  }

  /** True while every direction delivers. */
  get isWhole(): boolean {
    return this.#blockedAtMs.size === 0 && this.#lateMs.size === 0;
  }

  /** The transport of one process; it ends with the process. */
  join(endpointId: string, process: SimProcess): ClusterTransport {
    const { nodeId } = process;
    const last = this.#endpoints.get(endpointId);
    const before = last === undefined ? undefined : { instance: last.instance, endedAtMs: last.process.endedAtMs ?? 0 };
    const instance = ++this.#instances;
    const own = { nodeId, endpointId, process, instance, before };
    const endpoint: Endpoint = { ...own, served: nobody, handlers: undefined, peers: [] };
    this.#endpoints.set(endpointId, endpoint);
    return {
      instance,
      serve: (node) => {
        endpoint.served = node;
      },
      peers: {
        bind: (handlers) => {
          endpoint.handlers = handlers;
        },
        send: (to, message) => this.#send(endpoint, to, message),
      },
      endpointId,
      addresses: () => [simAddressOf(nodeId)],
      setPeers: (peers) => {
        endpoint.peers = peers;
      },
      call: (to, method, payload, options) => this.#call(endpoint, to, method, payload, options),
      sessions: () => endpoint.peers.map((peer) => this.#session(endpoint, peer)),
    };
  }

  #session(endpoint: Endpoint, { nodeId, endpointId }: ClusterPeer) {
    const target = this.#endpoints.get(endpointId);
    const before = target?.before;
    // Before a new process greets, what is left is the connection of the one before it.
    const greeted = before === undefined || target?.peers.some((peer) => peer.nodeId === endpoint.nodeId) === true;
    const instance = greeted ? (target?.instance ?? null) : before.instance;
    const lastContactMs = greeted
      ? this.#silentMs(endpoint.nodeId, nodeId, target)
      : this.#time.nowMs - before.endedAtMs;
    return { nodeId, endpointId, transport: "simulated", path: "direct" as const, rttMs: 1, instance, lastContactMs };
  }

  /** Two processes do not talk when one of them knows of a newer start of the other, which is told. */
  #isRefused(from: Endpoint, target: Endpoint): boolean {
    if (knowsNewer(target, from)) {
      from.process.enter(() => from.served.onNewerStartClaimed(target.nodeId));
      return true;
    }
    if (!knowsNewer(from, target)) return false;
    target.process.enter(() => target.served.onNewerStartClaimed(from.nodeId));
    return true;
  }

  /** For how long nothing came through between two nodes; 0 while they hear each other. */
  #silentMs(from: number, to: number, target: Endpoint | undefined): number {
    const now = this.#time.nowMs;
    const blocked = Math.min(
      this.#blockedAtMs.get(linkOf(from, to)) ?? now,
      this.#blockedAtMs.get(linkOf(to, from)) ?? now,
    );
    if (blocked < now) return now - blocked;
    const isUp = target?.process.alive === true && !target.process.paused;
    return isUp ? 0 : silenceMs;
  }

  #send(from: Endpoint, to: NodeId, message: PeerMessage): boolean {
    if (!from.process.alive) return false;
    const peer = from.peers.find(({ nodeId }) => nodeId === to);
    if (peer === undefined) return false;
    this.#observe(from.nodeId, to, message);
    this.taps.get(from.nodeId)?.sees(message);
    const target = this.#endpoints.get(peer.endpointId);
    if (target === undefined || this.#silentMs(from.nodeId, to, target) >= silenceMs) return false;
    const { conditions } = this;
    if (conditions.loss > 0 && chance(this.#random, conditions.loss)) return true;
    this.#deliver(from, target, message, this.#delayMs(from.nodeId, target.nodeId));
    if (conditions.duplication > 0 && chance(this.#random, conditions.duplication)) {
      this.#deliver(from, target, message, this.#delayMs(from.nodeId, target.nodeId));
    }
    if (conditions.lateCopies > 0 && chance(this.#random, conditions.lateCopies)) {
      this.#deliver(from, target, message, between(this.#random, lateMsMin, lateMsMax));
    }
    if (this.echoShare > 0 && namesItsSender(message)) this.#echo(from, target, message);
    return true;
  }

  /** Another member that the target knows, and that may be down, sends the same message in its own name. */
  #echo(from: Endpoint, target: Endpoint, message: PeerMessage): void {
    if (!chance(this.#random, this.echoShare)) return;
    const others = target.peers.filter(({ endpointId }) => endpointId !== from.endpointId);
    const other = others[Math.floor(this.#random.next() * others.length)];
    const endpoint = other === undefined ? undefined : this.#endpoints.get(other.endpointId);
    if (endpoint === undefined) return;
    this.#deliver(endpoint, target, message, this.#delayMs(endpoint.nodeId, target.nodeId));
  }

  #deliver(from: Endpoint, target: Endpoint, message: PeerMessage, delayMs: number): void {
    this.#arrive(from, target, delayMs, () => {
      this.taps.get(target.nodeId)?.sees(message);
      target.handlers?.onMessage(asNodeId(from.nodeId), message);
    });
  }

  #arrive(from: Endpoint, target: Endpoint, delayMs: number, take: () => void): void {
    this.#time.after(delayMs, deliveryTag + target.nodeId, () => {
      if (this.#blockedAtMs.size > 0 && this.#blockedAtMs.has(linkOf(from.nodeId, target.nodeId))) return;
      if (this.#isRefused(from, target)) return;
      target.process.enter(() => {
        // The receiver knows its peers by their keys; a stranger's message is dropped.
        if (target.peers.some(({ endpointId }) => endpointId === from.endpointId)) take();
      });
    });
  }

  /** Does nothing where no connection is. */
  forge(endpointId: string, to: number, { delayMs, arrives }: Forgery): void {
    const from = this.#endpoints.get(endpointId);
    const target = this.#endpoints.get(from?.peers.find(({ nodeId }) => nodeId === to)?.endpointId ?? "");
    if (from?.process.alive !== true || target === undefined) return;
    if (this.#silentMs(from.nodeId, to, target) >= silenceMs) return;
    this.#arrive(from, target, delayMs, () => {
      const take = (message: PeerMessage) => target.handlers?.onMessage(asNodeId(from.nodeId), message);
      const hearNewerStart = () => target.served.onNewerStartClaimed(from.nodeId);
      arrives({ nodeId: target.nodeId, take, hearNewerStart });
    });
  }

  /** Rejects as a call of the node itself does. */
  forgeCall(endpointId: string, to: number, call: ForgedCall): Promise<Uint8Array> {
    const from = this.#endpoints.get(endpointId);
    if (from === undefined) return Promise.reject(notApplied("UNREACHABLE", "nobody has this key"));
    return this.#call(from, to, call.method, call.payload, call);
  }

  /** The member list of the process that runs with this key, as it gave it to its transport. */
  peersOf(endpointId: string): readonly ClusterPeer[] {
    return this.#endpoints.get(endpointId)?.peers ?? [];
  }

  #delayMs(from: number, to: number): number {
    const { reordering, delayMsMin, delayMsMax } = this.conditions;
    const delayMs = between(this.#random, delayMsMin, delayMsMax) + (this.#lateMs.get(to) ?? 0);
    if (reordering > 0 && chance(this.#random, reordering)) return delayMs + this.#random.next() * overtakenMsMax;
    // Otherwise in order.
    const link = linkOf(from, to);
    const atMs = Math.max(this.#time.nowMs + delayMs, this.#lastDeliveryMs.get(link) ?? 0);
    this.#lastDeliveryMs.set(link, atMs);
    return atMs - this.#time.nowMs;
  }

  /** A stream sends again what is lost. */
  #streamDelayMs(): number {
    let delayMs = between(this.#random, this.conditions.delayMsMin, this.conditions.delayMsMax);
    while (chance(this.#random, this.conditions.loss)) delayMs += retransmitMs;
    return delayMs;
  }

  #call(
    from: Endpoint,
    to: number | ClusterEndpoint,
    method: string,
    payload: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal } & Partial<ForgedCall>,
  ): Promise<Uint8Array> {
    const endpointId =
      typeof to === "number" ? from.peers.find(({ nodeId }) => nodeId === to)?.endpointId : to.endpointId;
    if (endpointId === undefined) {
      const message = `node ${String(to)} is not in the member list`;
      return Promise.reject(notApplied("UNREACHABLE", message));
    }
    const { signal, timeoutMs } = options;
    const remote = linkSignal(undefined);
    return new Promise((resolve, reject) => {
      const end = (finish: () => void) => {
        timer.cancel();
        offAbort(signal, abort);
        finish();
        remote.abort();
      };
      const fail = (error: Error) => end(() => reject(error));
      const timer = from.process.after(timeoutMs, () =>
        fail(
          new BlixardError("DEADLINE_EXCEEDED", `${method} took longer than ${timeoutMs} ms`, { outcome: "unknown" }),
        ),
      );
      const abort = () => fail(abortReason(signal));
      if (signal?.aborted) return abort();
      onAbort(signal, abort);
      const answer = (work: () => void) => from.process.enter(() => end(work));
      this.#time.after(this.#streamDelayMs(), callTag + from.nodeId, () => {
        this.#serve(from, endpointId, { ...options, method, payload, signal: remote.signal }, (error, bytes) => {
          answer(() => (bytes === undefined ? reject(error) : resolve(bytes)));
        });
      });
    });
  }

  #serve(
    from: Endpoint,
    endpointId: string,
    call: ServedCall,
    done: (error: unknown, bytes: Uint8Array | undefined) => void,
  ): void {
    const target = this.#endpoints.get(endpointId);
    if (target === undefined || !target.process.alive || this.#isBlocked(from, target)) {
      const error = notApplied("UNREACHABLE", "nobody answers");
      this.#time.after(silenceMs, callTag + from.nodeId, () => done(error, undefined));
      return;
    }
    const back = (error: unknown, bytes: Uint8Array | undefined) => {
      if (!target.process.alive) return;
      this.onAnswer?.(from.nodeId, call.method);
      const lateMs = call.method === forwardRpcMethod ? (this.lateAnswersTo.get(from.nodeId) ?? 0) : 0;
      this.#time.after(this.#streamDelayMs() + lateMs, callTag + from.nodeId, () => {
        if (!this.#isBlocked(from, target)) return done(error, bytes);
        const lost = new BlixardError("UNREACHABLE", "the session broke", { outcome: "unknown" });
        this.#time.after(silenceMs, callTag + from.nodeId, () => done(lost, undefined));
      });
    };
    target.process.enter(() => {
      const answer = () => this.#answerOf(from, target, call);
      (call.around === undefined ? answer() : call.around(target.nodeId, answer)).then(
        (bytes) => back(undefined, bytes),
        // As on a wire: the error arrives as data, not as the object that was thrown.
        (error: unknown) => back(fromRpcError(toRpcError(error)), undefined),
      );
    });
  }

  async #answerOf(from: Endpoint, target: Endpoint, { method, payload, opensStream, signal }: ServedCall) {
    const nodeId = target.peers.find((peer) => peer.endpointId === from.endpointId)?.nodeId;
    const incoming = { method, payload, remote: { endpointId: from.endpointId, nodeId } };
    if (opensStream !== true) {
      return this.taps.get(target.nodeId)?.answer(method) ?? target.served.call(incoming, signal);
    }
    // Whoever opened it leaves it at once.
    await target.served.stream({ ...incoming, input: (async function* () {})() }, signal);
    return new Uint8Array(0);
  }

  #isBlocked(from: Endpoint, to: Endpoint): boolean {
    return (
      this.#blockedAtMs.has(linkOf(from.nodeId, to.nodeId)) || this.#blockedAtMs.has(linkOf(to.nodeId, from.nodeId))
    );
  }
}

/** A proposal does not: who brings it has made it. */
function namesItsSender({ type }: PeerMessage): boolean {
  return type === "raft" || type === "snapshotChunk";
}

const nobody: Served = {
  call: () => Promise.reject(notApplied("UNAVAILABLE", "the node is starting")),
  stream: () => Promise.reject(notApplied("UNAVAILABLE", "the node is starting")),
  start: () => undefined,
  onNewerStartClaimed: () => {},
};

/** Where a simulated node can be reached. */
export const simAddressOf = (nodeId: number): string => `10.0.0.${nodeId}:7000`;

const deliveryTag = 1 << 17;
const callTag = 1 << 18;

/** What `knower` has in its member list about the start of `other`. */
function knowsNewer(knower: Endpoint, other: Endpoint): boolean {
  const known = knower.peers.find(({ endpointId }) => endpointId === other.endpointId)?.start;
  const start = known === undefined ? undefined : other.served.start();
  if (known === undefined || start === undefined) return false;
  return known.incarnation === start.incarnation ? known.starts > start.starts : known.incarnation > start.incarnation;
}

function linkOf(from: number, to: number): number {
  return from * 65_536 + to;
}
