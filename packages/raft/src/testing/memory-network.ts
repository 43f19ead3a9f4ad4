/** A network inside one process: delivers in order, and loses or holds back what a test tells it to. */
import { BoundedQueue, type Random } from "@blixard/common";
import type { NodeId } from "../core/types.ts";
import type { PeerMessage, PeerTransport, PeerTransportHandlers } from "../ports.ts";

interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly message: PeerMessage;
}

export interface MemoryNetworkOptions {
  readonly random: Random;
  /** Share of messages that are lost, 0 to 1. Default: 0. */
  readonly loss?: number;
  /** Share of messages that are delivered twice, 0 to 1. Default: 0. */
  readonly duplication?: number;
}

const envelopesMax = 100_000;

export class MemoryNetwork {
  readonly #random: Random;
  #loss: number;
  #duplication: number;
  readonly #handlers = new Map<NodeId, PeerTransportHandlers>();
  readonly #cut = new Set<string>();
  readonly #queue = new BoundedQueue<Envelope>(envelopesMax);
  #delivering = false;
  /** Sees each message before it travels; false loses it. */
  filter: (from: NodeId, to: NodeId, message: PeerMessage) => boolean = () => true;

  constructor(options: MemoryNetworkOptions) {
    this.#random = options.random;
    this.#loss = options.loss ?? 0;
    this.#duplication = options.duplication ?? 0;
  }

  setLoss(loss: number): void {
    this.#loss = loss;
  }

  setDuplication(duplication: number): void {
    this.#duplication = duplication;
  }

  /** The transport of one node. Binding it again, after a restart, takes the place of the earlier one. */
  transport(id: NodeId): PeerTransport {
    return {
      bind: (handlers) => {
        this.#handlers.set(id, handlers);
      },
      send: (to, message) => this.#send({ from: id, to, message }),
    };
  }

  /** Cuts a node off the network as a crash does. */
  unbind(id: NodeId): void {
    this.#handlers.delete(id);
  }

  /** Cuts every link between the nodes of different groups. */
  partition(...groups: readonly (readonly NodeId[])[]): void {
    this.heal();
    for (const group of groups) {
      for (const other of groups) {
        if (group === other) continue;
        for (const from of group) for (const to of other) this.#cut.add(`${from}>${to}`);
      }
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  #send(envelope: Envelope): boolean {
    const { from, to, message } = envelope;
    if (!this.#handlers.has(to)) return false;
    if (this.#cut.has(`${from}>${to}`) || !this.filter(from, to, message)) return true;
    if (this.#random.next() < this.#loss) return true;
    const queued = this.#queue.push(envelope);
    if (queued && this.#random.next() < this.#duplication) this.#queue.push(envelope);
    this.#deliver();
    return queued;
  }

  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    queueMicrotask(() => {
      this.#delivering = false;
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        this.#handlers.get(next.to)?.onMessage(next.from, next.message);
      }
    });
  }
}
