/**
 * Looks at what every node sends, stores and applies, and reports what Raft never allows (extended paper, figure 3):
 * election safety, log matching, leader completeness, state machine safety; and that no node forgets its term or votes
 * twice. It sees ports only, so it holds no belief about how a node works inside.
 */
import { bytesEqual } from "@blixard/common";
import type { AppliedState, ConfState, Entry, LogContents, LogWrite, PeerMessage } from "@blixard/raft";
import { ExchangeChecker } from "./exchange-checker.ts";
import { StateChecker } from "./state-checker.ts";
import { TermChecker } from "./term-checker.ts";
import type { Violations } from "./violation.ts";

/** One node's log as it was last told to its store. */
interface LogMirror {
  base: { readonly index: number; readonly term: number };
  entries: Entry[];
}

interface AppliedRow {
  readonly term: number;
  /** What the state is after the entry; undefined while nobody has looked. */
  hash: string | undefined;
}

interface Leader {
  readonly nodeId: number;
  readonly term: number;
}

const leaderMessages = new Set(["MsgApp", "MsgHeartbeat", "MsgSnap", "MsgTimeoutNow"]);
/** Messages whose sender has promised that its term is durable. */
const durableTermMessages = new Set(["MsgApp", "MsgAppResp", "MsgVoteResp", "MsgHeartbeat", "MsgSnap"]);

export class RaftChecker {
  readonly #violations: Violations;
  readonly #exchange: ExchangeChecker;
  readonly #terms: TermChecker;
  /** Of nodes that keep their state on the disk. */
  readonly states: StateChecker;
  /** Nodes whose word and whose stores count for nothing. */
  readonly #distrusted = new Set<number>();
  readonly #logs = new Map<number, LogMirror>();
  /** By index and term: two logs that hold the same position hold the same entry, after the same one. */
  readonly #positions = new Map<number, Map<number, { readonly entry: Entry; readonly termBefore: number }>>();
  readonly #leaders = new Map<number, number>();
  /** By node and term. */
  readonly #votes = new Map<number, Map<number, number>>();
  readonly #outdated = new Set<number>();
  readonly #durableTerms = new Map<number, number>();
  readonly #applied: (AppliedRow | undefined)[] = [];
  readonly #appliedBy = new Map<number, number>();
  #newest: Leader = { nodeId: 0, term: 0 };
  /** Told of each new leader, while it sends its first message. */
  onLeader: (nodeId: number) => void = () => {};
  /** Told of each snapshot that another node's state comes with, when it is saved and before anything else is. */
  onSnapshotReceived: (nodeId: number) => void = () => {};

  constructor(violations: Violations) {
    this.#violations = violations;
    this.#exchange = new ExchangeChecker(violations);
    this.#terms = new TermChecker(violations);
    this.states = new StateChecker(violations);
  }

  /** The largest index that any node has applied. */
  get appliedMax(): number {
    return this.#applied.length - 1;
  }

  /** Number of terms in which a node led. */
  get leaderCount(): number {
    return this.#leaders.size;
  }

  appliedAt(index: number): AppliedRow | undefined {
    return this.#applied[index];
  }

  /** The store of a node was replaced by an older one: it may look, and it may not take part. */
  outdated(nodeId: number): void {
    this.#outdated.add(nodeId);
  }

  /** The node has no vote, and somebody has taken it over: what it says and stores breaks no rule for the others. */
  distrust(nodeId: number): void {
    this.#distrusted.add(nodeId);
  }

  isDistrusted(nodeId: number): boolean {
    return this.#distrusted.has(nodeId);
  }

  /** The node begins without a store, as one that never was a member. */
  forget(nodeId: number): void {
    this.#outdated.delete(nodeId);
    this.#logs.delete(nodeId);
    this.#votes.delete(nodeId);
    this.#durableTerms.delete(nodeId);
    this.states.forget(nodeId);
    this.#appliedBy.delete(nodeId);
    if (this.#newest.nodeId === nodeId) this.#newest = { nodeId: 0, term: this.#newest.term };
  }

  loaded(nodeId: number, { hardState, base, entries }: LogContents): void {
    if (this.#outdated.has(nodeId)) return;
    const durable = this.#durableTerms.get(nodeId) ?? 0;
    if (hardState.term < durable) {
      this.#violations.report(
        "the term never goes back",
        `node ${nodeId} restarted in term ${hardState.term}, after it had made term ${durable} durable`,
      );
    }
    const vote = this.#votes.get(nodeId)?.get(hardState.term);
    if (vote !== undefined && hardState.vote !== vote) {
      this.#violations.report("one vote a term", `node ${nodeId} forgot that it voted in term ${hardState.term}`);
    }
    this.#exchange.loaded(nodeId);
    this.#logs.set(nodeId, { base, entries: [...entries] });
    this.#appliedBy.delete(nodeId);
    if (this.#newest.nodeId === nodeId) this.#newest = { nodeId: 0, term: this.#newest.term };
  }

  appending(nodeId: number, { entries, hardState }: LogWrite): void {
    if (hardState !== undefined && hardState.term < (this.#durableTerms.get(nodeId) ?? 0)) {
      this.#violations.report("the term never goes back", `node ${nodeId} stores the older term ${hardState.term}`);
    }
    if (hardState !== undefined) this.#terms.stored(nodeId, hardState);
    const first = entries[0];
    if (first === undefined) return;
    const log = this.#logOf(nodeId);
    const keep = first.index - log.base.index - 1;
    const appliedIndex = this.#appliedBy.get(nodeId) ?? 0;
    if (first.index <= appliedIndex) {
      this.#violations.report(
        "log matching",
        `node ${nodeId} overwrites entry ${first.index}, and has applied ${appliedIndex}`,
      );
    }
    log.entries.length = Math.max(0, keep);
    for (const entry of entries) {
      const termBefore = log.entries.at(-1)?.term ?? log.base.term;
      this.#place(nodeId, entry, termBefore);
      log.entries.push(entry);
    }
  }

  #place(nodeId: number, entry: Entry, termBefore: number): void {
    let terms = this.#positions.get(entry.index);
    if (terms === undefined) {
      terms = new Map();
      this.#positions.set(entry.index, terms);
    }
    const other = terms.get(entry.term);
    if (other === undefined) terms.set(entry.term, { entry, termBefore });
    else if (other.termBefore !== termBefore || !isSameEntry(other.entry, entry)) {
      this.#violations.report(
        "log matching",
        `node ${nodeId} holds another entry ${entry.index} of term ${entry.term} than an earlier node`,
      );
    }
  }

  appended(nodeId: number, { hardState }: LogWrite): void {
    if (hardState !== undefined) this.#termIsDurable(nodeId, hardState.term);
  }

  #termIsDurable(nodeId: number, term: number): void {
    this.#durableTerms.set(nodeId, Math.max(term, this.#durableTerms.get(nodeId) ?? 0));
  }

  compacting(nodeId: number, base: LogMirror["base"]): void {
    const log = this.#logOf(nodeId);
    if (base.index <= log.base.index) return;
    log.entries.splice(0, base.index - log.base.index);
    log.base = base;
  }

  resetting(nodeId: number, base: LogMirror["base"]): void {
    this.#logs.set(nodeId, { base, entries: [] });
  }

  sent(from: number, to: number, envelope: PeerMessage): void {
    if (this.#distrusted.has(from)) return;
    this.#exchange.sent(from, to, envelope);
    if (envelope.type !== "raft" && envelope.type !== "snapshotChunk") return;
    const { message } = envelope;
    if (this.#outdated.has(from)) {
      const detail = `node ${from} sends ${message.type}, and its store is older than what it has promised`;
      this.#violations.report("a store that went back takes no part", detail);
      return;
    }
    if (durableTermMessages.has(message.type)) this.#termIsDurable(from, message.term);
    if (leaderMessages.has(message.type)) this.#leads(from, message.term);
    if (message.type === "MsgVoteResp" && !message.reject) this.#voted(from, to, message.term);
  }

  #voted(from: number, candidate: number, term: number): void {
    let votes = this.#votes.get(from);
    if (votes === undefined) {
      votes = new Map();
      this.#votes.set(from, votes);
    }
    const before = votes.get(term);
    if (before !== undefined && before !== candidate) {
      this.#violations.report("one vote a term", `node ${from} voted for ${before} and ${candidate} in term ${term}`);
    }
    votes.set(term, candidate);
  }

  #leads(nodeId: number, term: number): void {
    const before = this.#leaders.get(term);
    if (before === nodeId) return;
    if (before !== undefined) {
      this.#violations.report("one leader a term", `nodes ${before} and ${nodeId} lead in term ${term}`);
      return;
    }
    this.#leaders.set(term, nodeId);
    this.onLeader(nodeId);
    if (term > this.#newest.term) this.#newest = { nodeId, term };
    let index = this.appliedMax;
    while (index > 0 && (this.#applied[index]?.term ?? term) >= term) index--;
    this.#assertComplete({ nodeId, term }, index);
  }

  /** A leader holds every entry that was committed in an earlier term. */
  #assertComplete(leader: Leader, index: number): void {
    const committed = this.#applied[index];
    if (committed === undefined || committed.term >= leader.term) return;
    const log = this.#logOf(leader.nodeId);
    if (index <= log.base.index || log.entries[index - log.base.index - 1]?.term === committed.term) return;
    this.#violations.report(
      "leader completeness",
      `the leader of term ${leader.term}, node ${leader.nodeId}, lacks entry ${index} of term ${committed.term}`,
    );
  }

  /** A node applied an entry, or restored a state that ends with it. */
  applied(nodeId: number, index: number, term: number, hash: string | undefined): void {
    this.#appliedBy.set(nodeId, Math.max(index, this.#appliedBy.get(nodeId) ?? 0));
    const before = this.#applied[index];
    if (before === undefined) {
      this.#applied[index] = { term, hash };
      if (index === this.appliedMax && this.#newest.nodeId !== 0) this.#assertComplete(this.#newest, index);
      return;
    }
    if (before.term !== term) {
      this.#violations.report(
        "state machine safety",
        `node ${nodeId} applied entry ${index} of term ${term}; another node applied the one of term ${before.term}`,
      );
      return;
    }
    before.hash ??= hash;
    if (hash !== undefined && before.hash !== hash) {
      this.#violations.report("equal state at equal applied index", `node ${nodeId} differs at ${index}`);
    }
  }

  snapshotSaved(nodeId: number, index: number): void {
    if (index > (this.#appliedBy.get(nodeId) ?? 0)) this.onSnapshotReceived(nodeId);
  }

  /** A node has applied a configuration, or still has it. */
  configured(nodeId: number, confState: ConfState): void {
    this.#exchange.configured(nodeId, confState);
  }

  restored(nodeId: number, at: Pick<AppliedState, "index" | "term">, hash: string): void {
    if (at.index > 0) this.applied(nodeId, at.index, at.term, hash);
  }

  #logOf(nodeId: number): LogMirror {
    let log = this.#logs.get(nodeId);
    if (log === undefined) {
      log = { base: { index: 0, term: 0 }, entries: [] };
      this.#logs.set(nodeId, log);
    }
    return log;
  }
}

function isSameEntry(a: Entry, b: Entry): boolean {
  if (a === b) return true;
  if (a.kind === "normal" && b.kind === "normal") return a.data === b.data || bytesEqual(a.data, b.data);
  return a.kind === b.kind;
}
