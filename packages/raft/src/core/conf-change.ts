/**
 * Configuration changes (thesis section 4). A change is worked out on a draft; only a valid result leaves this
 * module, so a refused change leaves no trace.
 *
 *     simple configuration --- simple(one voter at most) ---> simple configuration
 *     simple configuration --- enterJoint(any number) ------> joint configuration
 *     joint configuration ---- leaveJoint ------------------> simple configuration
 *
 * Learners and voters never overlap. A voter that is demoted inside a joint configuration keeps its vote in the
 * outgoing half and waits in `learnersNext`.
 */
import { assert, assertSafeInteger } from "@blixard/common";
import { invalidConfChange } from "./errors.ts";
import { Progress, type ProgressOptions } from "./progress.ts";
import type { ConfChange, ConfChangeOp, ConfState, LogIndex, NodeId } from "./types.ts";

export interface Membership {
  /** Ids ascend in every list. */
  readonly config: ConfState;
  readonly progress: ReadonlyMap<NodeId, Progress>;
}

/** Where a change starts from. */
export interface ConfChangeBase extends Membership {
  /** New members are probed from here. */
  readonly lastIndex: LogIndex;
  readonly options: ProgressOptions;
}

/** Carries out a change as its entry asks: leaves, enters, or stays outside joint consensus. */
export function changeMembership(base: ConfChangeBase, change: ConfChange): Membership {
  if (leavesJoint(change)) return leaveJoint(base);
  if (entersJoint(change)) return enterJoint(base, change.transition !== "explicit", change.changes);
  return simpleChange(base, change.changes);
}

/** True for the empty change, which asks to leave a joint configuration. */
export const leavesJoint = (change: ConfChange): boolean =>
  change.version === 2 && change.transition === "auto" && change.changes.length === 0;

const entersJoint = (change: ConfChange): boolean =>
  change.version === 2 && (change.transition !== "auto" || change.changes.length > 1);

/** Applies changes that touch at most one voter. @throws CONF_CHANGE_INVALID */
export function simpleChange(base: ConfChangeBase, changes: readonly ConfChangeOp[]): Membership {
  const draft = new Draft(base);
  if (draft.joint) throw invalidConfChange("can't apply simple config change in joint config");
  draft.apply(changes);
  if (differences(base.config.voters, draft.incoming) > 1) {
    throw invalidConfChange("more than one voter changed without entering joint config");
  }
  return draft.finish();
}

/** Copies the voters to the outgoing half and applies the changes to the incoming one. @throws CONF_CHANGE_INVALID */
export function enterJoint(base: ConfChangeBase, autoLeave: boolean, changes: readonly ConfChangeOp[]): Membership {
  const draft = new Draft(base);
  if (draft.joint) throw invalidConfChange("config is already joint");
  if (draft.incoming.size === 0) throw invalidConfChange("can't make a zero-voter config joint");
  for (const id of draft.incoming) draft.outgoing.add(id);
  draft.apply(changes);
  draft.autoLeave = autoLeave;
  return draft.finish();
}

/** Drops the outgoing half and turns the members of `learnersNext` into learners. @throws CONF_CHANGE_INVALID */
export function leaveJoint(base: ConfChangeBase): Membership {
  const draft = new Draft(base);
  if (!draft.joint) throw invalidConfChange("can't leave a non-joint config");
  draft.leaveJoint();
  return draft.finish();
}

/** The members of a stored configuration, all of them new. Its lists may be in any order. */
export function restoreMembership(config: ConfState, lastIndex: LogIndex, options: ProgressOptions): Membership {
  const sortedConfig: ConfState = {
    voters: ascending(config.voters),
    votersOutgoing: ascending(config.votersOutgoing),
    learners: ascending(config.learners),
    learnersNext: ascending(config.learnersNext),
    autoLeave: config.autoLeave,
  };
  const progress = new Map<NodeId, Progress>();
  for (const id of [...sortedConfig.voters, ...sortedConfig.votersOutgoing, ...sortedConfig.learners]) {
    const learner = sortedConfig.learners.includes(id);
    if (!progress.has(id)) progress.set(id, newMember(id, lastIndex, learner, options));
  }
  const broken = brokenInvariant(sortedConfig);
  assert(broken === undefined, `a stored configuration is inconsistent: ${broken}`);
  return { config: sortedConfig, progress };
}

/** Says what is wrong with a configuration, or undefined when it is sound. */
export function brokenInvariant(config: ConfState): string | undefined {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = config;
  for (const id of [...voters, ...votersOutgoing, ...learners, ...learnersNext]) {
    if (!Number.isSafeInteger(id) || id <= 0) return `${id} is not a node id`;
  }
  for (const id of learnersNext) {
    if (!votersOutgoing.includes(id)) return `${id} is to become a learner but is no outgoing voter`;
    if (learners.includes(id)) return `${id} is to become a learner but is one already`;
  }
  for (const id of learners) {
    if (voters.includes(id) || votersOutgoing.includes(id)) return `${id} is a learner and a voter`;
  }
  if (votersOutgoing.length === 0 && autoLeave) return "only a joint configuration can be left";
  return undefined;
}

interface Member {
  readonly kept: Progress | undefined;
  learner: boolean;
}

/** A configuration under construction. It reads its base and never changes it. */
class Draft {
  readonly incoming: Set<NodeId>;
  readonly outgoing: Set<NodeId>;
  autoLeave: boolean;
  readonly #base: ConfChangeBase;
  readonly #learners: Set<NodeId>;
  readonly #learnersNext: Set<NodeId>;
  readonly #members = new Map<NodeId, Member>();

  constructor(base: ConfChangeBase) {
    this.#base = base;
    this.incoming = new Set(base.config.voters);
    this.outgoing = new Set(base.config.votersOutgoing);
    this.#learners = new Set(base.config.learners);
    this.#learnersNext = new Set(base.config.learnersNext);
    this.autoLeave = base.config.autoLeave;
    for (const [id, kept] of base.progress) this.#members.set(id, { kept, learner: kept.learner });
  }

  get joint(): boolean {
    return this.outgoing.size > 0;
  }

  apply(changes: readonly ConfChangeOp[]): void {
    for (const { op, id } of changes) {
      assertSafeInteger(id, "the node id of a configuration change");
      // The id 0 marks a change that was withdrawn after it entered the log.
      if (id === 0) continue;
      switch (op) {
        case "addVoter":
          this.#addVoter(id);
          break;
        case "addLearner":
          this.#addLearner(id);
          break;
        case "remove":
          this.#remove(id);
          break;
        case "update":
          break;
        default:
          op satisfies never;
      }
    }
    if (this.incoming.size === 0) throw invalidConfChange("removed all voters");
  }

  leaveJoint(): void {
    for (const id of this.#learnersNext) {
      this.#learners.add(id);
      const member = this.#members.get(id);
      if (member) member.learner = true;
    }
    this.#learnersNext.clear();
    for (const id of this.outgoing) {
      if (!this.incoming.has(id) && !this.#learners.has(id)) this.#members.delete(id);
    }
    this.outgoing.clear();
    this.autoLeave = false;
  }

  finish(): Membership {
    const config: ConfState = {
      voters: ascending(this.incoming),
      votersOutgoing: ascending(this.outgoing),
      learners: ascending(this.#learners),
      learnersNext: ascending(this.#learnersNext),
      autoLeave: this.autoLeave,
    };
    const broken = brokenInvariant(config);
    assert(broken === undefined, `a configuration change broke the configuration: ${broken}`);
    const progress = new Map<NodeId, Progress>();
    for (const [id, { kept, learner }] of this.#members) {
      const member = kept ?? newMember(id, this.#base.lastIndex, learner, this.#base.options);
      member.learner = learner;
      progress.set(id, member);
    }
    return { config, progress };
  }

  #addVoter(id: NodeId): void {
    const member = this.#members.get(id);
    if (member) member.learner = false;
    else this.#members.set(id, { kept: undefined, learner: false });
    this.#learners.delete(id);
    this.#learnersNext.delete(id);
    this.incoming.add(id);
  }

  #addLearner(id: NodeId): void {
    const member = this.#members.get(id);
    if (!member) {
      this.#members.set(id, { kept: undefined, learner: true });
      this.#learners.add(id);
      return;
    }
    if (member.learner) return;
    this.#remove(id);
    this.#members.set(id, member);
    if (this.outgoing.has(id)) {
      this.#learnersNext.add(id);
    } else {
      member.learner = true;
      this.#learners.add(id);
    }
  }

  #remove(id: NodeId): void {
    if (!this.#members.has(id)) return;
    this.incoming.delete(id);
    this.#learners.delete(id);
    this.#learnersNext.delete(id);
    if (!this.outgoing.has(id)) this.#members.delete(id);
  }
}

function newMember(id: NodeId, lastIndex: LogIndex, learner: boolean, options: ProgressOptions): Progress {
  const member = new Progress(id, lastIndex, learner, options);
  // Else the next check of the quorum could depose the leader before the new member had a chance to speak.
  member.recentActive = true;
  return member;
}

function differences(before: readonly NodeId[], after: ReadonlySet<NodeId>): number {
  const kept = before.filter((id) => after.has(id)).length;
  return before.length - kept + (after.size - kept);
}

/** Without duplicates: a voter has one vote. */
const ascending = (ids: Iterable<NodeId>): readonly NodeId[] => [...new Set(ids)].sort((left, right) => left - right);
