/**
 * What a member may take from this node. A member's key may be in foreign hands, so that what it asks for is bounded, each
 * kind for each member: who asks for more is told OVERLOADED and read more slowly, and neither ends anything nor takes it
 * from others.
 *
 *     log_bytes       bytes of commands that it has proposed in its own name, on the leader; voters too
 *     calls           calls of its own, and what their answers weigh: how many in a time, and how many at once
 *     reads           questions for an index to read at, in Raft
 *     streams         streams that it holds open
 *     snapshot_bytes  bytes of state that the leader sends it
 *
 * All but the first are for members that do not serve people: a voter passes on the calls of everybody, and what it does to
 * Raft cannot be bounded (see docs/security-model.md).
 */
import {
  assertAtMost,
  type BlixardError,
  type BucketRate,
  type Clock,
  type Counter,
  LeakyBucket,
  type Logger,
  notApplied,
  onAbort,
} from "@blixard/common";
import { limits } from "@blixard/protocol";
import type { ClusterTransport } from "../ports/cluster-transport.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";

export const budgetKinds = ["log_bytes", "calls", "reads", "streams", "snapshot_bytes"] as const;
export type BudgetKind = (typeof budgetKinds)[number];

export interface MemberBudgetOptions {
  /** Default 64 KiB, and 4 MiB at once. */
  readonly logBytesPerSecond: number;
  readonly logBytesBurst: number;
  /** What an entry weighs at least, because each costs a write to the disk. Default 4 KiB. */
  readonly logEntryBytesMin: number;
  /** Calls in a second, and at once after a pause. Default 16 and 512. */
  readonly callsPerSecond: number;
  readonly callsBurst: number;
  /** An answer weighs one more call for each so many bytes. Default 256 KiB. */
  readonly answerBytesPerCall: number;
  /** Calls that are under way at once. Default 32. */
  readonly callsInFlightMax: number;
  /** Default 16 in a second, and 256 at once. */
  readonly readsPerSecond: number;
  readonly readsBurst: number;
  /** Default 4. */
  readonly streamsMax: number;
  /** Default 1 GiB in an hour, or so many times the state where that is more: 4. */
  readonly snapshotBytesPerHour: number;
  readonly snapshotsPerHour: number;
}

export const memberBudgetDefaults: MemberBudgetOptions = {
  logBytesPerSecond: 64 * 1024,
  logBytesBurst: 4 * 1024 * 1024,
  logEntryBytesMin: 4 * 1024,
  callsPerSecond: 16,
  callsBurst: 512,
  answerBytesPerCall: 256 * 1024,
  callsInFlightMax: 32,
  readsPerSecond: 16,
  readsBurst: 256,
  streamsMax: 4,
  snapshotBytesPerHour: 1024 ** 3,
  snapshotsPerHour: 4,
};

/** Fails where the budgets contradict each other or the limits of the contract. */
export function assertMemberBudgets(of: MemberBudgetOptions): void {
  const { logBytesBurst, logEntryBytesMin, callsBurst, callsInFlightMax } = of;
  const { commandBytesMax } = limits;
  assertAtMost({ commandBytesMax, logEntryBytesMin }, { logBytesBurst }, "a member may propose the largest command");
  assertAtMost({ callsInFlightMax }, { callsBurst }, "the calls that are under way at once may begin at once");
}

assertMemberBudgets(memberBudgetDefaults);

export interface MemberBudgetsDeps {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly logger: Logger;
  readonly exceeded: Counter;
  readonly nodeId: number;
  readonly state: () => Pick<ClusterState, "nodes">;
  readonly transport: Pick<ClusterTransport, "slow">;
}

interface Account {
  readonly buckets: Map<BudgetKind, LeakyBucket>;
  calls: number;
  streams: number;
}

const hourSeconds = 3_600;
/** What is refused is counted one by one, and logged so seldom. */
const logIntervalMs = 10_000;

export class MemberBudgets {
  readonly #deps: MemberBudgetsDeps;
  readonly #options: MemberBudgetOptions;
  readonly #accounts = new Map<number, Account>();
  #loggedAtMs = Number.NEGATIVE_INFINITY;
  #notLogged = 0;

  constructor(deps: MemberBudgetsDeps, options: MemberBudgetOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Takes the bytes of a command that a member has proposed. @throws OVERLOADED */
  spendLogBytes(nodeId: number, bytes: number): void {
    if (nodeId === this.#deps.nodeId || this.#roleOf(nodeId) === undefined) return;
    const { logBytesPerSecond: perSecond, logBytesBurst: max, logEntryBytesMin } = this.#options;
    const weight = Math.max(bytes, logEntryBytesMin);
    if (!this.#takes(nodeId, "log_bytes", weight, { perSecond, max })) throw this.#refusal(nodeId, "log_bytes");
  }

  /** Whether a member may ask now for an index to read at. */
  admitsRead(nodeId: number): boolean {
    if (!this.#isBounded(nodeId)) return true;
    const { readsPerSecond: perSecond, readsBurst: max } = this.#options;
    return this.#takes(nodeId, "reads", 1, { perSecond, max }) || this.#exceeds(nodeId, "reads");
  }

  /** Whether a member may be sent so many bytes more of a state of `wholeBytes`. */
  admitsSnapshotBytes(nodeId: number, bytes: number, wholeBytes: number): boolean {
    if (!this.#isBounded(nodeId)) return true;
    const { snapshotBytesPerHour, snapshotsPerHour } = this.#options;
    const max = Math.max(snapshotBytesPerHour, snapshotsPerHour * wholeBytes);
    const rate = { max, perSecond: max / hourSeconds };
    return this.#takes(nodeId, "snapshot_bytes", bytes, rate) || this.#exceeds(nodeId, "snapshot_bytes");
  }

  /** Runs a call of a member. What the answer weighs is known only then, and taken from the calls that follow. @throws OVERLOADED */
  call(nodeId: number | undefined, work: () => Promise<Uint8Array>): Promise<Uint8Array> {
    return nodeId === undefined || !this.#isBounded(nodeId) ? work() : this.#boundedCall(nodeId, work);
  }

  async #boundedCall(nodeId: number, work: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const { callsPerSecond: perSecond, callsBurst: max, callsInFlightMax, answerBytesPerCall } = this.#options;
    const account = this.#accountOf(nodeId);
    if (account.calls >= callsInFlightMax || !this.#takes(nodeId, "calls", 1, { perSecond, max })) {
      throw this.#refusal(nodeId, "calls");
    }
    account.calls++;
    try {
      const answer = await work();
      const further = Math.floor(answer.length / answerBytesPerCall);
      this.#bucketOf(account, "calls").add(this.#deps.clock.monotonicMs(), { perSecond, max }, further);
      return answer;
    } finally {
      account.calls--;
    }
  }

  /** Opens a stream of a member, which counts until `signal` aborts. @throws OVERLOADED, and whatever `open` throws */
  async stream<T>(nodeId: number | undefined, signal: AbortSignal, open: () => Promise<T>): Promise<T> {
    if (nodeId === undefined || !this.#isBounded(nodeId)) return open();
    const account = this.#accountOf(nodeId);
    if (account.streams >= this.#options.streamsMax) throw this.#refusal(nodeId, "streams");
    let isOpen = true;
    const end = () => {
      if (isOpen) account.streams--;
      isOpen = false;
    };
    account.streams++;
    try {
      const output = await open();
      if (signal.aborted) end();
      else onAbort(signal, end);
      return output;
    } catch (error) {
      end();
      throw error;
    }
  }

  #roleOf(nodeId: number): string | undefined {
    return this.#deps.state().nodes.get(nodeKey(nodeId))?.role;
  }

  #isBounded(nodeId: number): boolean {
    const role = this.#roleOf(nodeId);
    return role !== undefined && role !== "voter" && nodeId !== this.#deps.nodeId;
  }

  #takes(nodeId: number, kind: BudgetKind, amount: number, rate: BucketRate): boolean {
    return this.#bucketOf(this.#accountOf(nodeId), kind).takes(this.#deps.clock.monotonicMs(), rate, amount);
  }

  #bucketOf({ buckets }: Account, kind: BudgetKind): LeakyBucket {
    const bucket = buckets.get(kind) ?? new LeakyBucket();
    buckets.set(kind, bucket);
    return bucket;
  }

  #accountOf(nodeId: number): Account {
    const known = this.#accounts.get(nodeId);
    if (known !== undefined) return known;
    const { nodes } = this.#deps.state();
    for (const id of this.#accounts.keys()) if (!nodes.has(nodeKey(id))) this.#accounts.delete(id);
    const account: Account = { buckets: new Map(), calls: 0, streams: 0 };
    this.#accounts.set(nodeId, account);
    return account;
  }

  #refusal(nodeId: number, kind: BudgetKind): BlixardError {
    this.#exceeds(nodeId, kind);
    return notApplied("OVERLOADED", `node ${nodeId} asks for more than a member may take: ${kind}`, {
      hint: "Try again in a moment. When it goes on, somebody else may hold the key of that node.",
    });
  }

  /** Counts it, reads more slowly what it sends, and is false. */
  #exceeds(nodeId: number, kind: BudgetKind): false {
    const { clock, logger, exceeded, transport } = this.#deps;
    exceeded.add(1, { of: kind });
    // Bytes of a snapshot are what this node sends, and a voter passes on what people ask for.
    if (kind !== "snapshot_bytes" && this.#isBounded(nodeId)) transport.slow?.(nodeId);
    this.#notLogged++;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < logIntervalMs) return false;
    logger.log("warn", "a member asks for more than it may take", { nodeId, of: kind, count: this.#notLogged });
    this.#loggedAtMs = nowMs;
    this.#notLogged = 0;
    return false;
  }
}
