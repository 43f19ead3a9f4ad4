/**
 * The active configuration with the progress of its members, and the votes of a running election.
 */
import type { Progress, ProgressOptions } from "./progress.ts";
import { jointCommittedIndex, jointVoteResult, type VoteResult } from "./quorum.ts";
import type { ConfState, LogIndex, NodeId } from "./types.ts";

/** A configuration without members: what a node has before it is bootstrapped or joins. */
export const emptyConfState = (): ConfState => ({
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
});

export class ProgressTracker {
  readonly options: ProgressOptions;
  /** Ids ascend in every list. */
  #config: ConfState = emptyConfState();
  #progress: ReadonlyMap<NodeId, Progress> = new Map();
  #peers: readonly Progress[] = [];
  #votes = new Map<NodeId, boolean>();

  constructor(options: ProgressOptions) {
    this.options = options;
  }

  get config(): ConfState {
    return this.#config;
  }

  get progress(): ReadonlyMap<NodeId, Progress> {
    return this.#progress;
  }

  /** All members by ascending id: the order in which everything is sent. */
  get peers(): readonly Progress[] {
    return this.#peers;
  }

  get isJoint(): boolean {
    return this.#config.votersOutgoing.length > 0;
  }

  /** True when there is one voter, which needs no other node's consent. */
  get isSingleton(): boolean {
    return this.#config.voters.length === 1 && !this.isJoint;
  }

  replace(config: ConfState, progress: ReadonlyMap<NodeId, Progress>): void {
    this.#config = config;
    this.#progress = progress;
    this.#peers = [...progress.values()].sort((left, right) => left.id - right.id);
  }

  get(id: NodeId): Progress | undefined {
    return this.#progress.get(id);
  }

  isVoter(id: NodeId): boolean {
    return this.#config.voters.includes(id) || this.#config.votersOutgoing.includes(id);
  }

  /** The voters of both halves by ascending id. */
  voterIds(): readonly NodeId[] {
    const { voters, votersOutgoing } = this.#config;
    if (votersOutgoing.length === 0) return voters;
    return [...new Set([...voters, ...votersOutgoing])].sort((left, right) => left - right);
  }

  /** The highest index that the quorum has made durable; Infinity without voters. */
  committedIndex(): LogIndex {
    return jointCommittedIndex(this.#config.voters, this.#config.votersOutgoing, this.#matchOf) as LogIndex;
  }

  /** Whether the leader heard from a quorum since activity was last cleared. */
  quorumActive(): boolean {
    return jointVoteResult(this.#config.voters, this.#config.votersOutgoing, this.#activityOf) === "VoteWon";
  }

  resetVotes(): void {
    this.#votes.clear();
  }

  /** Counts the first vote of each node; a node cannot change its mind within an election. */
  recordVote(id: NodeId, granted: boolean): void {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
  }

  voteResult(): VoteResult {
    return jointVoteResult(this.#config.voters, this.#config.votersOutgoing, this.#voteOf);
  }

  readonly #matchOf = (id: NodeId): number | undefined => this.#progress.get(id)?.match;
  readonly #voteOf = (id: NodeId): boolean | undefined => this.#votes.get(id);
  readonly #activityOf = (id: NodeId): boolean | undefined => this.#progress.get(id)?.recentActive;
}
