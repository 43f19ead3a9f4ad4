/**
 * The session with one member: at most one connection in use, found or made, kept alive, replaced.
 *
 *              start                    hello both ways
 *     Idle ------------> Dialing ------------------------> Ready <---- heard ---- Suspect
 *                         ^   |                            |   |                    |
 *            next dial in |   | the attempts in flight     |   '-- 2 heartbeats ----'
 *             250-500 ms  |   v gave up                    |        missed           |
 *                        Backoff <-------------------------+-------------------------'
 *                         |        closed, broken, bad frame, 3 heartbeats missed:
 *                         |        the connection is closed first, then redialled
 *                         '-- the peer's hello comes in --> Ready
 *
 *     Any --removed or closed--> Closed
 *
 * When both sides dial at once, the connection dialled by the lower node id survives. A new process of the peer
 * (another instance) replaces the old one, and so does a newer connection of the same dialler; but a start of the node
 * that is older than one that was heard of is refused, and told so in the answer to its hello.
 */
import type { Timer } from "@blixard/common";
import { BlixardError, setRunnableTimer, untilNextMs, withDeadline } from "@blixard/common";
import { encodePeerMessages } from "@blixard/protocol/peer-messages";
import type { NodeId, PeerMessage } from "@blixard/raft";
import { frameBytesMaxOf } from "../frames/frame.ts";
import type { LinkEnd } from "../frames/frame-link.ts";
import type { StreamClass } from "../frames/stream-class.ts";
import type { DropReason } from "../metrics.ts";
import { briefly, OverlappedDial } from "../overlapped-dial.ts";
import { transportLimits } from "../transport-limits.ts";
import type { Connection, EndpointAddress, Peer, PeerSessionStatus, SessionState } from "../transport-types.ts";
import { type Hello, ownCapabilities } from "./hello.ts";
import { isOutdated, type NodeStart, newestStart, type SeenStart } from "./node-start.ts";
import { OutboundQueue } from "./outbound-queue.ts";
import { keyInTurn, keysOf, provesKeyOf } from "./peer-keys.ts";
import { PeerLink, type PeerLinkHandlers } from "./peer-link.ts";
import type { PeerSessionDeps, PeerSessionOptions } from "./peer-session-deps.ts";
import { transportOf } from "./session-transport.ts";
import { Silence } from "./silence.ts";

/** Of a heartbeat without a word, after which a session beats. */
const beatAfter = 0.75;

export class PeerSession {
  readonly #deps: PeerSessionDeps;
  readonly #options: PeerSessionOptions;
  readonly #dial: OverlappedDial;
  readonly #linkHandlers: PeerLinkHandlers;
  readonly #queue = new OutboundQueue();
  /** Connections on their way to a greeting, with what gives up on them. */
  readonly #greetings = new Map<PeerLink, (error: BlixardError | undefined) => void>();
  #peer: Peer;
  #state: SessionState = "idle";
  #active: PeerLink | undefined;
  #newest: SeenStart | undefined;
  #heartbeat: Timer | undefined;
  #silence: Silence | undefined;
  #beatDue = false;
  /** When something urgent left last, which is a sign of life too. */
  #spokeAtMs = Number.NEGATIVE_INFINITY;
  #dialSequence = 0;
  #dialled = 0;
  #overflowed = false;
  #droppedMessages = 0;
  #lastContactMs: number | null = null;
  #lastError: string | null = null;

  constructor(peer: Peer, deps: PeerSessionDeps, options: PeerSessionOptions) {
    this.#peer = peer;
    this.#noteStart(peer.start, 0);
    this.#deps = deps;
    this.#options = options;
    this.#linkHandlers = {
      pace: deps.pace,
      next: (link, streamClass) => this.#next(link, streamClass),
      onHello: (link, hello) => this.#onHello(link, hello),
      onMessages: (link, messages) => this.#onMessages(link, messages),
      onUnsupported: (link, reason) => this.#onUnsupported(link, reason),
      onEnd: (link, end) => this.#onLinkEnd(link, end),
    };
    this.#dial = new OverlappedDial(deps, {
      attempt: (signal) => this.#attempt(signal),
      onFailure: (error) => this.#onDialFailure(error),
    });
    deps.metrics.sessionMoved(undefined, "idle");
  }

  get peer(): Peer {
    return this.#peer;
  }

  /** Where the node is called: under the key with which it is connected, else under the next in turn. */
  get endpoint(): EndpointAddress {
    return {
      ...this.#peer,
      endpointId: this.#active?.connection.remoteEndpointId ?? keyInTurn(this.#peer, this.#dialled),
    };
  }

  start(): void {
    // The connection dialled by the lower id survives, so the higher one gives it a moment before it dials as well.
    const first = this.#options.nodeId < this.#peer.nodeId;
    this.#become("dialing");
    this.#dial.start(first ? 0 : (this.#options.heartbeatMs / 2) * (1 + this.#deps.random.next()));
  }

  /** Uses changed addresses at once when there is no connection, else at the next dial. */
  setPeer(peer: Peer): void {
    const changed = peer.addresses.join() !== this.#peer.addresses.join();
    this.#peer = peer;
    this.#noteStart(peer.start, 0);
    if (this.#active !== undefined && this.#isOutdated(this.#active)) this.#break("the node was started elsewhere");
    if (this.#active !== undefined && !provesKeyOf(this.#peer, this.#active)) this.#break("the node has another key");
    if (changed && this.#active === undefined && this.#state !== "closed") this.#dial.start(0);
  }

  /** False when the message was dropped: no connection, or the queue is full. */
  send(message: PeerMessage): boolean {
    if (this.#active === undefined) return this.#drop("no_session");
    const streamClass = this.#queue.push(message);
    if (streamClass === undefined) {
      if (!this.#overflowed) this.#reportUnreachable();
      this.#overflowed = true;
      return this.#drop("queue_full");
    }
    this.#active.wake(streamClass);
    return true;
  }

  /** Takes a connection that the peer dialled; its key was checked. */
  accept(connection: Connection): void {
    if (this.#state === "closed" || this.#greetings.size >= transportLimits.handshakesPerPeerMax) {
      this.#deps.metrics.refused("too_many_connections");
      connection.close("too many connections");
      return;
    }
    this.#awaitHello(this.#newLink(connection, false), () => {});
  }

  /**
   * Replaces a working connection by one over the transport that is chosen now. Only the side whose connection wins
   * over the present one does so. The other side comes to the same choice by itself.
   */
  async renew(): Promise<void> {
    const active = this.#active;
    const chosen = this.#deps.adapter.choices?.choiceFor(this.#peer.endpointId).transport;
    const wins = active?.dialledHere === true || this.#options.nodeId < this.#peer.nodeId;
    if (active === undefined || active.connection.transport === chosen || !wins) return;
    const deadline = { clock: this.#deps.clock, timeoutMs: transportLimits.dialWaitMsMax, what: "the dial" };
    try {
      const connection = await withDeadline(deadline, (signal) =>
        this.#deps.adapter.connect(this.#peer, "blixard/raft/1", { signal }),
      );
      if (this.#active === active && connection.transport === chosen) await this.#greet(connection);
      else connection.close("another connection is in use");
    } catch (error) {
      this.#deps.logger.log("info", "the connection was not renewed", {
        peer: this.#peer.nodeId,
        reason: briefly(error),
      });
    }
  }

  status(): PeerSessionStatus {
    const path = this.#active?.connection.path() ?? { kind: "none" as const, rttMs: null };
    return {
      nodeId: this.#peer.nodeId,
      endpointId: this.#peer.endpointId,
      state: this.#state,
      ...transportOf(this.#deps.adapter, this.#peer.endpointId, this.#active),
      path: path.kind,
      rttMs: path.rttMs,
      lastContactMs: this.#lastContactMs === null ? null : this.#deps.clock.monotonicMs() - this.#lastContactMs,
      queuedMessages: this.#queue.length,
      droppedMessages: this.#droppedMessages,
      instance: this.#active?.hello?.instance ?? null,
      lastError: this.#lastError,
    };
  }

  close(reason: string): void {
    if (this.#state === "closed") return;
    this.#become("closed");
    this.#dial.stop(reason);
    this.#heartbeat?.cancel();
    this.#active?.close(reason);
    this.#active = undefined;
    for (const [link, settle] of this.#greetings) {
      link.close(reason);
      settle(new BlixardError("CANCELLED", reason));
    }
    this.#greetings.clear();
    this.#countDropped("closed", this.#queue.clear());
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    if (this.#active === undefined) this.#become("dialing");
    this.#dialled++;
    const to = { ...this.#peer, endpointId: keyInTurn(this.#peer, this.#dialled) };
    const connection = await this.#deps.adapter.connect(to, "blixard/raft/1", { signal });
    if (signal.aborted) {
      connection.close("connected too late");
      throw signal.reason;
    }
    if (this.#active !== undefined || [...this.#greetings.keys()].some(({ dialledHere }) => dialledHere)) {
      connection.close("another connection is on its way");
      throw new BlixardError("CANCELLED", "another connection is on its way");
    }
    await this.#greet(connection);
  }

  /**
   * Greets on a connection that was dialled here, one at a time, so that a newer greeting always means that the older
   * one failed. A greeting is not given up when the peer's own connection comes in first: the peer may have chosen this one.
   */
  #greet(connection: Connection): Promise<void> {
    const link = this.#newLink(connection, true);
    return new Promise((resolve, reject) => {
      this.#awaitHello(link, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
      this.#dialSequence++;
      link.sendHello(this.#helloOf(this.#dialSequence));
    });
  }

  /** Gives the other side its time for a hello; `settle` is called once, with the error that ended the wait if any. */
  #awaitHello(link: PeerLink, settle: (error: BlixardError | undefined) => void): void {
    const timer = setRunnableTimer(this.#deps.clock, transportLimits.helloWaitMs, () => {
      this.#greetings.delete(link);
      link.close("no hello");
      settle(new BlixardError("UNREACHABLE", `no hello within ${transportLimits.helloWaitMs} ms`));
    });
    this.#greetings.set(link, (error) => {
      timer.cancel();
      settle(error);
    });
  }

  #onDialFailure(error: unknown): void {
    this.#deps.metrics.dialled("failed");
    this.#lastError = briefly(error);
    if (this.#active === undefined && this.#dial.attemptsInFlight === 0) this.#become("backoff");
  }

  #newLink(connection: Connection, dialledHere: boolean): PeerLink {
    return new PeerLink(connection, dialledHere, this.#options, this.#linkHandlers, this.#deps.metrics);
  }

  #helloOf(sequence: number): Hello {
    const { nodeId, instance } = this.#options;
    const start = this.#options.start();
    return {
      nodeId,
      toNodeId: this.#peer.nodeId,
      instance,
      sequence,
      capabilities: ownCapabilities,
      ...(start === undefined ? {} : { start }),
      ...(this.#newest === undefined ? {} : { known: this.#newest }),
    };
  }

  #onHello(link: PeerLink, hello: Hello): void {
    const settle = this.#greetings.get(link);
    this.#greetings.delete(link);
    this.#hearOfItself(hello);
    const refusal = this.#refusalOf(link, hello);
    if (refusal !== undefined) {
      if (this.#isOutdated(link)) this.#tell(link, refusal);
      // A peer that answered a greeting may have sent messages behind it, before it hears which connection won.
      else if (link.dialledHere && this.#active !== undefined) this.#closeLater(link, refusal);
      else link.close(refusal);
      settle?.(new BlixardError("CONFLICT", refusal));
      return;
    }
    if (!link.dialledHere) link.sendHello(this.#helloOf(hello.sequence));
    settle?.(undefined);
    this.#noteStart(hello.start, hello.instance);
    this.#adopt(link);
  }

  /** Passes on that the peer says that it knows of a newer start of this node. */
  #hearOfItself({ nodeId, known }: Hello): void {
    const start = this.#options.start();
    if (nodeId !== this.#peer.nodeId || known === undefined || start === undefined) return;
    if (isOutdated({ ...start, instance: this.#options.instance }, known)) this.#deps.onNewerStartClaimed();
  }

  #noteStart(start: NodeStart | undefined, instance: number): void {
    if (start !== undefined) this.#newest = newestStart(this.#newest, { ...start, instance });
  }

  /** True for a process with the key of the peer that is not the newest known start of the peer. */
  #isOutdated({ hello }: PeerLink): boolean {
    if (hello?.start === undefined || this.#newest === undefined) return false;
    return isOutdated({ ...hello.start, instance: hello.instance }, this.#newest);
  }

  /** Refuses a process. One that was dialled read the reason in our hello; one that dialled reads it in the answer. */
  #tell(link: PeerLink, refusal: string): void {
    if (link.dialledHere) {
      link.close(refusal);
      return;
    }
    link.sendHello(this.#helloOf(link.hello?.sequence ?? 0));
    this.#closeLater(link, refusal);
  }

  #refusalOf(link: PeerLink, hello: Hello): string | undefined {
    if (hello.nodeId !== this.#peer.nodeId || hello.toNodeId !== this.#options.nodeId) {
      this.#deps.metrics.refused("wrong_node");
      return `the peer says that it is node ${hello.nodeId} and means node ${hello.toNodeId}`;
    }
    if (this.#state === "closed") return "the session is closed";
    if (!provesKeyOf(this.#peer, link)) {
      this.#deps.metrics.refused("unknown_peer");
      return "the node has another key";
    }
    if (this.#isOutdated(link)) {
      this.#deps.metrics.refused("older_start");
      return "a newer start of the node is known";
    }
    const active = this.#active?.hello;
    if (this.#active === undefined || active === undefined || active.instance !== hello.instance) return undefined;
    if (this.#active.dialledHere === link.dialledHere) {
      return hello.sequence > active.sequence ? undefined : "a newer connection is in use";
    }
    const dialledByLower = link.dialledHere === this.#options.nodeId < this.#peer.nodeId;
    return dialledByLower ? undefined : "another connection is in use";
  }

  #adopt(link: PeerLink): void {
    const replaced = this.#active;
    this.#active = link;
    this.#spokeAtMs = Number.NEGATIVE_INFINITY;
    this.#dial.stop("connected");
    // On a long path the other side has not even got the answer yet: until it is first heard it has more time.
    this.#silence = new Silence(this.#deps.clock, this.#options.heartbeatMs, transportLimits.helloWaitMs);
    this.#beatDue = true;
    link.takeHeard();
    this.#lastError = null;
    this.#touch();
    this.#become("ready");
    this.#deps.metrics.dialled("connected");
    this.#deps.logger.log("info", "peer session is ready", { peer: this.#peer.nodeId, dialled: link.dialledHere });
    this.#armHeartbeat();
    if (replaced !== undefined && this.#isOutdated(replaced)) replaced.close("the node was started elsewhere");
    else if (replaced !== undefined) this.#closeLater(replaced, "replaced by another connection");
    for (const streamClass of ["urgent", "normal", "bulk"] as const) link.wake(streamClass);
  }

  /** Closes a link a moment later. By then the other side knows which connection won, and nothing is cut off. */
  #closeLater(link: PeerLink, reason: string): void {
    this.#deps.clock.setTimer(this.#options.heartbeatMs, () => link.close(reason));
  }

  #armHeartbeat(): void {
    this.#heartbeat?.cancel();
    const { clock } = this.#deps;
    const waitMs = untilNextMs(clock, this.#options.heartbeatMs);
    this.#heartbeat = clock.setTimer(waitMs, () => this.#tickHeartbeat());
  }

  #tickHeartbeat(): void {
    const link = this.#active;
    if (link === undefined || this.#silence === undefined) return;
    const missed = this.#silence.tick(link.takeHeard());
    if (missed >= transportLimits.deadAfterMissed) {
      this.#break(`nothing was heard for ${missed} heartbeats`);
      return;
    }
    this.#become(missed >= transportLimits.suspectAfterMissed ? "suspect" : "ready");
    const { clock } = this.#deps;
    // A leader speaks more often than that by itself.
    this.#beatDue = clock.monotonicMs() - this.#spokeAtMs >= this.#options.heartbeatMs * beatAfter;
    if (this.#beatDue) link.wake("urgent");
    this.#deps.metrics.observePeer(this.status());
    this.#armHeartbeat();
  }

  #next(link: PeerLink, streamClass: StreamClass): Uint8Array | undefined {
    if (link !== this.#active) return undefined;
    for (let messages = this.#queue.take(streamClass); messages.length > 0; messages = this.#queue.take(streamClass)) {
      const payload = this.#encode(messages, streamClass);
      if (payload === undefined) continue;
      if (streamClass === "urgent") this.#noteSpoken();
      this.#deps.metrics.messagesSent(messages.length);
      if (this.#queue.length < transportLimits.queueMessagesMax / 2) this.#overflowed = false;
      return payload;
    }
    if (streamClass !== "urgent" || !this.#beatDue) return undefined;
    this.#beatDue = false;
    return new Uint8Array();
  }

  #noteSpoken(): void {
    this.#beatDue = false;
    this.#spokeAtMs = this.#deps.clock.monotonicMs();
  }

  #encode(messages: readonly PeerMessage[], streamClass: StreamClass): Uint8Array | undefined {
    try {
      const payload = encodePeerMessages(messages);
      if (payload.length <= frameBytesMaxOf(streamClass, this.#options)) return payload;
      this.#countDropped("too_large", messages.length);
    } catch (error) {
      this.#deps.logger.log("error", "a message has no encoding", { error: briefly(error) });
      this.#countDropped("no_encoding", messages.length);
    }
    return undefined;
  }

  #onMessages(link: PeerLink, messages: readonly PeerMessage[]): void {
    if (this.#state === "closed") return;
    const isOutdated = this.#isOutdated(link);
    if (isOutdated || !provesKeyOf(this.#peer, link)) {
      this.#deps.metrics.refused(isOutdated ? "older_start" : "unknown_peer");
      return;
    }
    this.#touch();
    if (link === this.#active && this.#state === "suspect") this.#become("ready");
    const from = this.#peer.nodeId as NodeId;
    for (const message of messages) {
      // The other kinds name no nodes: who sent them is what the connection proved.
      const named = message.type === "raft" || message.type === "snapshotChunk" ? message.message : undefined;
      if (named !== undefined && named.from !== from) {
        this.#deps.metrics.refused("forged_from");
      } else if (named !== undefined && named.to !== this.#options.nodeId) {
        this.#deps.metrics.refused("wrong_node");
      } else {
        this.#deps.handlers.onMessage(from, message);
      }
    }
  }

  /** Told once for each reason: the peer may send the same again at each heartbeat. */
  #onUnsupported(link: PeerLink, reason: string): void {
    if (link !== this.#active || this.#lastError === reason) return;
    this.#lastError = reason;
    this.#deps.logger.log("warn", "messages of a later release were left out", { peer: this.#peer.nodeId, reason });
  }

  #onLinkEnd(link: PeerLink, end: LinkEnd): void {
    if (end.refusal !== undefined) this.#deps.metrics.refused(end.refusal);
    const settle = this.#greetings.get(link);
    this.#greetings.delete(link);
    settle?.(new BlixardError("UNREACHABLE", `the connection ended before the greeting: ${end.reason}`));
    if (link === this.#active) this.#break(end.reason);
  }

  #break(reason: string): void {
    const { logger, random, onBroken } = this.#deps;
    logger.log("warn", "peer session broke", { peer: this.#peer.nodeId, reason });
    this.#lastError = reason;
    this.#heartbeat?.cancel();
    // Close before redial, always: a dial beside a dead connection times out (measured over Iroh).
    this.#active?.close(reason);
    this.#active = undefined;
    this.#countDropped("session_broke", this.#queue.clear());
    for (const key of keysOf(this.#peer)) onBroken(key);
    this.#become("backoff");
    this.#dial.start(random.next() * transportLimits.dialIntervalMsMin * 0.2);
    this.#reportUnreachable();
  }

  #reportUnreachable(): void {
    this.#deps.handlers.onUnreachable(this.#peer.nodeId as NodeId);
  }

  #touch(): void {
    this.#lastContactMs = this.#deps.clock.monotonicMs();
  }

  #drop(reason: DropReason): false {
    this.#countDropped(reason, 1);
    return false;
  }

  #countDropped(reason: DropReason, count: number): void {
    this.#droppedMessages += count;
    this.#deps.metrics.dropped(reason, count);
  }

  #become(state: SessionState): void {
    if (state === this.#state) return;
    this.#deps.metrics.sessionMoved(this.#state, state);
    this.#state = state;
    if (state === "closed") this.#deps.metrics.forgetPeer(this.#peer.nodeId);
    else this.#deps.metrics.observePeer(this.status());
  }
}
