/**
 * A member that was taken over: a real node runs on its machine, and somebody with its key says other things beside what that
 * says, from what the node holds and what passes it. A witness is trusted inside Raft, because it votes: it makes up
 * no Raft messages, and no words about whether another node may take part.
 */
import type { ClusterNode } from "@blixard/cluster";
import { notApplied, type Random, toHex } from "@blixard/common";
import {
  authorize,
  type CallMeta,
  decodeServiceCall,
  decodeServiceResponse,
  encodeServiceCall,
  encodeServiceResponse,
  forwardRpcMethod,
  type MemberRole,
  type Method,
  type MethodName,
  methods,
  type StreamName,
  streams,
} from "@blixard/protocol";
import { decodePeerMessages, encodePeerMessages } from "@blixard/protocol/peer-messages";
import type { MessageType, PeerMessage } from "@blixard/raft";
import { between, chance, pick } from "../seeds.ts";
import type { SimMachine } from "../sim-machine.ts";
import type { ForgeryReceiver, SimNetwork } from "../sim-network.ts";
import { Eyes } from "./eyes.ts";
import { type AddressClaim, forgedRequests, forgedStreams, type RequestSource } from "./forged-calls.ts";
import type { ForgedTally } from "./forged-counts.ts";
import { forgedMessages } from "./forged-messages.ts";
import type { Refusals } from "./refusals.ts";

/** A member of a simulated cluster. */
export interface Member {
  readonly role: MemberRole;
  readonly endpointId: string;
  readonly machine: SimMachine<ClusterNode>;
}

export interface LiarDeps {
  readonly network: SimNetwork;
  readonly refusals: Refusals;
  readonly tally: ForgedTally;
  /** Machines of members that nobody has taken over. */
  readonly honest: () => readonly SimMachine<ClusterNode>[];
}

const callTimeoutMs = 2_000;
const messageKinds = [...forgedMessages.keys()];
const methodNames = Object.keys(methods) as MethodName[];
const streamNames = Object.keys(streams) as StreamName[];

export class Liar {
  readonly member: Member;
  readonly #deps: LiarDeps;
  readonly #eyes = new Eyes();
  readonly #claims: AddressClaim[] = [];
  /** Bursts that last. */
  #lies = 0;
  #random: Random;

  constructor(member: Member, deps: LiarDeps, random: Random) {
    this.member = member;
    this.#deps = deps;
    this.#random = random;
    deps.network.taps.set(member.machine.id, {
      sees: (message) => this.#eyes.see(message),
      answer: (method) => (this.#lies > 0 ? this.#falseAnswer(method) : undefined),
    });
  }

  begin(random: Random): void {
    this.#lies++;
    this.#random = random;
  }

  end(): void {
    this.#lies--;
  }

  /** Ends every burst. */
  silence(): void {
    this.#lies = 0;
  }

  /** Makes one thing up and says it to somebody. */
  speak(random: Random): void {
    const { node, id } = this.member.machine;
    const victims = this.#deps.honest().filter(({ node: one }) => one !== undefined);
    if (node === undefined || victims.length === 0) return;
    const { leaderId } = node.status();
    const toLeader = chance(random, 0.4) && victims.some((victim) => victim.id === leaderId);
    const to = toLeader && leaderId !== null ? leaderId : pick(random, victims).id;
    if (to === id) return;
    const dice = random.next();
    if (dice < 0.04) this.#claimNewerStart(to, random);
    else if (dice < 0.5 && !votes(this.member)) this.#send(pick(random, messageKinds), node, to, random);
    else if (dice < 0.93) this.#call(pick(random, methodNames), node, to, random);
    else this.#open(pick(random, streamNames), node, to, random);
  }

  #send(kind: string, node: ClusterNode, to: number, random: Random): void {
    const { network, honest } = this.#deps;
    const { term, lastLogIndex, lastLogTerm, commitIndex } = node.status();
    const make = forgedMessages.get(kind);
    if (make === undefined) return;
    const log = { term, lastIndex: lastLogIndex, lastTerm: lastLogTerm, commitIndex };
    const voters = honest().map(({ id }) => id);
    const message = make({ ...log, random, self: this.member.machine.id, to, eyes: this.#eyes, voters });
    const bytes = encodePeerMessages([message]);
    const arrives = (receiver: ForgeryReceiver) => this.#arrived(kind, bytes, receiver);
    network.forge(this.member.endpointId, to, { delayMs: between(random, 0.2, 5), arrives });
  }

  #arrived(kind: string, bytes: Uint8Array, { nodeId, take }: ForgeryReceiver): void {
    const { refusals, tally, honest } = this.#deps;
    const status = honest()
      .find(({ id }) => id === nodeId)
      ?.node?.status();
    for (const message of decodePeerMessages(bytes)) {
      const isSound = status !== undefined && wouldBeStepped(message, this.member.machine.id, status);
      const before = refusals.count(nodeId, "message");
      take(message);
      const stopped = refusals.count(nodeId, "message") - before;
      tally.add(kind, { decoded: 1, stopped, alone: isSound ? stopped : 0 });
    }
  }

  #claimNewerStart(to: number, random: Random): void {
    const { network, refusals, tally } = this.#deps;
    const arrives = ({ hearNewerStart }: ForgeryReceiver) => {
      const before = refusals.total("newer_start by other");
      hearNewerStart();
      const alone = refusals.total("newer_start by other") - before;
      tally.add("claim newer_start", { decoded: 1, stopped: alone, alone });
    };
    network.forge(this.member.endpointId, to, { delayMs: between(random, 0.2, 5), arrives });
  }

  #call(name: MethodName, node: ClusterNode, to: number, random: Random): void {
    const request = forgedRequests[name](this.#source(node, random));
    const forwards = chance(random, 0.6);
    const method: Method = methods[name];
    const meta = this.#meta(name, method, node, random);
    const isSound = method.request.safeParse(request).success && isAllowed(name, method, meta);
    if (name === "node.addresses" && !forwards) this.#deps.tally.add("claim addresses", { decoded: 1 });
    void this.#ask(to, { kind: name, name, request, meta, forwards, isSound, opensStream: false }).then((answer) => {
      if (name === "node.addresses" && answer !== undefined) this.#learn(answer);
    });
  }

  #open(name: StreamName, node: ClusterNode, to: number, random: Random): void {
    const request = forgedStreams[name](this.#source(node, random));
    const meta = this.#meta(name, streams[name], node, random);
    const isSound = streams[name].request.safeParse(request).success && isAllowed(name, streams[name], meta);
    const forwards = chance(random, 0.6);
    void this.#ask(to, { kind: `stream ${name}`, name, request, meta, forwards, isSound, opensStream: true });
  }

  /** Resolves with the bytes of the answer; undefined when there was none. */
  async #ask(to: number, asked: Asked): Promise<Uint8Array | undefined> {
    const { network, refusals, tally } = this.#deps;
    const { name, request, meta, forwards, isSound, opensStream } = asked;
    const kind = forwards ? `forward ${asked.kind}` : asked.kind;
    const around = async (nodeId: number, answer: () => Promise<Uint8Array>): Promise<Uint8Array> => {
      decodeServiceCall(payload);
      const before = refusals.count(nodeId, "forward");
      const answered = answer();
      // Who speaks for whom is looked at before anything else is waited for.
      const refused = refusals.count(nodeId, "forward") - before;
      const code = await answered.then(() => "OK", codeOf);
      const stopped = forwards ? refused : Number(code === "PERMISSION_DENIED");
      tally.add(kind, { decoded: 1, stopped, alone: isSound || !forwards ? stopped : 0 });
      return answered;
    };
    const payload = encodeServiceCall({ name, request, meta });
    const method = forwards ? forwardRpcMethod : name;
    const call = { method, payload, opensStream, timeoutMs: callTimeoutMs, around };
    return network.forgeCall(this.member.endpointId, to, call).catch(() => undefined);
  }

  #learn(answer: Uint8Array): void {
    const { claims } = methods["node.addresses"].response.parse(decodeServiceResponse(answer));
    this.#claims.push(...claims);
    this.#claims.splice(0, this.#claims.length - claimsMax);
  }

  #source(node: ClusterNode, random: Random): RequestSource {
    const { id } = this.member.machine;
    const others = [...node.state.nodes.values()].map((record) => record.id).filter((other) => other !== id);
    return {
      ...{ random, self: id, endpointId: this.member.endpointId, others: others.length > 0 ? others : [id] },
      ...{ state: node.state, appliedIndex: node.status().appliedIndex, claims: this.#claims },
    };
  }

  /** In the name of an administrator, of the system, of another node; with a request id that somebody used. */
  #meta(name: string, method: Pick<Method, "access">, node: ClusterNode, random: Random): CallMeta {
    const self = this.member.machine.id;
    const others = [...node.state.nodes.values()].filter(({ id }) => id !== self);
    const other = others.length > 0 ? pick(random, others) : undefined;
    const token = pick(random, [...node.state.tokens.keys(), "admin"]);
    const used = this.#eyes.commands.map(({ requestId }) => requestId).filter((id) => id !== "");
    const requestId = used.length > 0 && chance(random, 0.5) ? pick(random, used) : toHex(random.bytes(8));
    const rest = { requestId, timeoutMs: callTimeoutMs, stale: chance(random, 0.2), hops: pick(random, [0, 1, 1]) };
    const metas: readonly CallMeta[] = [
      { ...rest, access: "admin", actor: { kind: "token", id: token } },
      { ...rest, access: "admin", actor: { kind: "system", id: "leader" } },
      { ...rest, access: "operator", actor: { kind: "token", id: "admin" } },
      { ...rest, access: "anyone", actor: { kind: "node", id: other?.endpointId ?? "" } },
      { ...rest, access: "node", actor: { kind: "node", id: String(other?.id ?? 0) } },
      { ...rest, access: "admin", actor: { kind: "node", id: String(self) } },
    ];
    const useful = metas.filter((meta) => isAllowed(name, method, meta));
    return pick(random, useful.length > 0 && chance(random, 0.8) ? useful : metas);
  }

  /** What it says when others ask it something. */
  #falseAnswer(method: string): Promise<Uint8Array> | undefined {
    const { role, machine } = this.member;
    // One that leads decides, from its first moment on: that is inside Raft.
    if (votes({ role }) && machine.node?.status().leaderId === machine.id) return undefined;
    const random = this.#random;
    const isRaftWord = method === "node.verify" || method === "member.vouch";
    if (votes({ role }) && isRaftWord) return undefined;
    if (method === "member.vouch") return Promise.resolve(encodeServiceResponse({ vouches: true }));
    if (method === "node.verify") {
      return Promise.resolve(
        encodeServiceResponse({ verdict: "behind", reason: "a lie", leader: false, current: true }),
      );
    }
    if (method === "join.request" && !votes({ role }) && chance(random, 0.5)) return this.#falseAdmission();
    if (method === "status.get" && !votes({ role }) && chance(random, 0.5)) return this.#falseStatus();
    if (chance(random, 0.3)) return undefined;
    this.#deps.tally.add("claim removed", { decoded: 1 });
    return Promise.reject(notApplied("REMOVED", "this node was removed from the cluster"));
  }

  /** To a machine without a state: the members are who the liar says, and it is the only one that votes. */
  #falseAdmission(): Promise<Uint8Array> | undefined {
    const { node, id } = this.member.machine;
    const own = [...(node?.state.nodes.values() ?? [])].find((record) => record.id === id);
    const clusterId = [...(node?.state.cluster.values() ?? [])][0]?.clusterId;
    if (own === undefined || clusterId === undefined) return undefined;
    const nodes = [{ ...own, role: "voter" }];
    return Promise.resolve(encodeServiceResponse({ clusterId, role: "voter", incarnation: 1_000, nodes }));
  }

  /** Names a member that does not exist. */
  #falseStatus(): Promise<Uint8Array> | undefined {
    const { node } = this.member.machine;
    const status = node?.status();
    const [first] = status?.members ?? [];
    if (status === undefined || first === undefined) return undefined;
    const invented = { ...first, id: inventedId, endpointId: "f".repeat(64), addresses: ["10.9.9.9:1"] };
    return Promise.resolve(encodeServiceResponse({ ...status, members: [...status.members, invented] }));
  }
}

interface Asked {
  readonly kind: string;
  readonly name: string;
  readonly request: unknown;
  readonly meta: CallMeta;
  readonly forwards: boolean;
  /** Apart from who says it, it would be taken. */
  readonly isSound: boolean;
  readonly opensStream: boolean;
}

const claimsMax = 32;
const inventedId = 99;

function votes({ role }: Pick<Member, "role">): boolean {
  return role === "witness";
}

function codeOf(error: unknown): string {
  return (error as { readonly code?: string }).code ?? "none";
}

function isAllowed(name: string, { access }: Pick<Method, "access">, meta: CallMeta): boolean {
  try {
    authorize(name, access, meta.access);
    return true;
  } catch {
    return false;
  }
}

/** Behind the rule about roles, the node or its core refuses these whoever sends them. */
const takenFromNobody: ReadonlySet<MessageType> = new Set([
  ...(["MsgSnap", "MsgProp", "MsgUnreachable", "MsgSnapStatus"] as const),
]);

/** Whether a receiver that took the message for one of a voter would act on it: the other checks that it makes. */
function wouldBeStepped(
  envelope: PeerMessage,
  self: number,
  receiver: { readonly term: number; readonly commitIndex: number },
): boolean {
  switch (envelope.type) {
    case "raft": {
      const { type, from, term } = envelope.message;
      const isLate = term < receiver.term && term !== 0;
      return from === self && !isLate && !takenFromNobody.has(type);
    }
    case "snapshotChunk":
      return envelope.message.from === self && (envelope.message.snapshot?.index ?? 0) > receiver.commitIndex;
    case "snapshotAck":
      return true;
    case "proposal":
    case "proposalAnswer":
      return false;
    default:
      return envelope satisfies never;
  }
}
