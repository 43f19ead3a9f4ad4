/**
 * The wall of a network card with security groups: what its rules allow passes, and what belongs to a conversation that they allowed.
 * Conversations are remembered for a while, and judged again when the rules, or what is known of the other card, change:
 *
 *     none --a rule allows the first packet--> begun --the other side answers--> open --TCP ends--> ending --> none
 *     any --no packet for so long--> none;  any --its rule is gone--> none
 *
 * The card has a share of what the switch remembers: half of that for what its guest begins and half for what others begin, of which
 * one other card has a quarter. Who fills their part keeps nobody else from beginning something.
 */
import type { CardPacket } from "../ipv6-packet.ts";
import { beginningOf, type Conversation, conversationOf, isTcp, peerOfKey } from "./conversation.ts";
import type { DropReason } from "./private-wall.ts";
import { allows, type CardRules, type Direction, type RulePeer } from "./security-rules.ts";

/** Conversations that a card remembers at most. */
export const cardFlowsMax = 8_192;
const begunMs = 30_000;
const datagramsMs = 180_000;
const tcpMs = 3_600_000;
const endingMs = 10_000;
/** Room for new ones is looked for not more often. */
const sweepMsMin = 1_000;

interface Flow {
  readonly byGuest: boolean;
  /** Those that allowed it last. */
  rules: CardRules;
  expiresMs: number;
  isAnswered: boolean;
  isEnding: boolean;
  guestEnds: boolean;
  peerEnds: boolean;
}

export interface PassingPacket {
  readonly packet: CardPacket;
  readonly frame: Buffer;
  readonly direction: Direction;
  /** The card of the other side. */
  readonly other: RulePeer;
  readonly rules: CardRules;
}

export class CardWall {
  readonly #nowMs: () => number;
  /** How many conversations the card may remember now. */
  readonly #share: () => number;
  readonly #flows = new Map<number, Flow>();
  /** Of what others have begun, how many by each. */
  readonly #begunBy = new Map<number, number>();
  #byOthers = 0;
  #sweptMs = Number.NEGATIVE_INFINITY;

  constructor(nowMs: () => number, share: () => number = () => cardFlowsMax) {
    this.#nowMs = nowMs;
    this.#share = share;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Undefined when the packet may pass, or why not. */
  refuses(passing: PassingPacket): DropReason | undefined {
    const { packet, frame, direction, other, rules } = passing;
    const refusal = direction === "out" ? "no_rule_out" : "no_rule_in";
    const conversation = conversationOf(packet, frame, direction);
    const flow = conversation === undefined ? undefined : this.#flowOf(conversation.key, passing);
    const isOwn = flow?.byGuest === (direction === "out");
    // Whoever opens a connection begins something, also where the other side has begun one between the same ports.
    const rides = flow !== undefined && (isOwn || conversation?.tcp?.opens !== true);
    if (rides && conversation !== undefined) {
      if (conversation.part !== "about") this.#refresh(flow, conversation, direction);
      return undefined;
    }
    const port = packet.ports?.destination;
    if (!allows(rules[direction], { protocol: packet.protocol, port }, other)) return refusal;
    if (conversation?.part !== "begins") return undefined;
    if (flow !== undefined) this.#forget(conversation.key, flow);
    return this.#remember(conversation.key, direction === "out", rules) ? undefined : "connections_full";
  }

  /** Forgets what is over and, where the share has become smaller since others have walls too, the oldest. */
  sweep(): void {
    const nowMs = this.#nowMs();
    this.#sweptMs = nowMs;
    const half = this.#share() / 2;
    for (const [key, flow] of this.#flows) {
      const beside = flow.byGuest ? this.#flows.size - this.#byOthers : this.#byOthers;
      if (flow.expiresMs <= nowMs || beside > half) this.#forget(key, flow);
    }
  }

  #flowOf(key: number, { rules, other }: PassingPacket): Flow | undefined {
    const flow = this.#flows.get(key);
    if (flow === undefined) return undefined;
    if (flow.expiresMs > this.#nowMs()) {
      if (flow.rules === rules) return flow;
      const { byGuest } = flow;
      if (allows(byGuest ? rules.out : rules.in, beginningOf(key, byGuest), other)) {
        flow.rules = rules;
        return flow;
      }
    }
    this.#forget(key, flow);
    return undefined;
  }

  #refresh(flow: Flow, { key, tcp }: Conversation, direction: Direction): void {
    const nowMs = this.#nowMs();
    const isOwn = flow.byGuest === (direction === "out");
    if (tcp?.opens) Object.assign(flow, { isAnswered: false, isEnding: false, guestEnds: false, peerEnds: false });
    if (!isOwn) flow.isAnswered = true;
    if (tcp?.fin) flow[direction === "out" ? "guestEnds" : "peerEnds"] = true;
    if (flow.isEnding) return;
    flow.isEnding = tcp?.rst === true || (flow.guestEnds && flow.peerEnds);
    const openMs = isTcp(key) ? tcpMs : datagramsMs;
    flow.expiresMs = nowMs + (flow.isEnding ? endingMs : flow.isAnswered ? openMs : begunMs);
  }

  /** False when there is no room. */
  #remember(key: number, byGuest: boolean, rules: CardRules): boolean {
    const nowMs = this.#nowMs();
    if (this.#isFull(key, byGuest)) {
      if (nowMs - this.#sweptMs < sweepMsMin) return false;
      this.sweep();
      if (this.#isFull(key, byGuest)) return false;
    }
    const open = { isAnswered: false, isEnding: false, guestEnds: false, peerEnds: false };
    this.#flows.set(key, { byGuest, rules, expiresMs: nowMs + begunMs, ...open });
    if (!byGuest) this.#count(key, 1);
    return true;
  }

  #isFull(key: number, byGuest: boolean): boolean {
    const half = this.#share() / 2;
    if (byGuest) return this.#flows.size - this.#byOthers >= half;
    return this.#byOthers >= half || (this.#begunBy.get(peerOfKey(key)) ?? 0) >= half / 4;
  }

  #forget(key: number, flow: Flow): void {
    this.#flows.delete(key);
    if (!flow.byGuest) this.#count(key, -1);
  }

  #count(key: number, by: 1 | -1): void {
    const peer = peerOfKey(key);
    const count = (this.#begunBy.get(peer) ?? 0) + by;
    if (count === 0) this.#begunBy.delete(peer);
    else this.#begunBy.set(peer, count);
    this.#byOthers += by;
  }
}
