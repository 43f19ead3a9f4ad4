/**
 * Bugs that a cluster must not have. Each replaces one piece of text in a built file of a package; that the text is
 * there exactly once is checked, so that a mutant cannot quietly stop being one.
 */
import type { Mutant } from "./mutant.ts";
import { wallMutants } from "./wall-mutants.ts";

export const mutants: readonly Mutant[] = [
  ...wallMutants,
  {
    name: "skip-fsync",
    bug: "the log is written without fsync",
    file: "storage/level/level-handle.js",
    from: "sync: group.some(({ sync }) => sync)",
    to: "sync: false",
  },
  {
    name: "ack-before-commit",
    bug: "a leader answers a write when it stands in its own log",
    file: "raft/proposals/proposal-table.js",
    from: "        proposal.term = term;\n        if (index <= this.#applied.index) {\n",
    to: `        proposal.term = term;
        if (proposal.kind === "normal" && Buffer.from(proposal.data).includes("kv.")) {
            const result = { ok: true, value: { swapped: true } };
            this.#conclude(proposal, { index, term, result: { result, index, term, repeated: false } });
            return;
        }
        if (index <= this.#applied.index) {
`,
  },
  {
    name: "ack-before-persist",
    bug: "a follower acknowledges entries before they are durable",
    file: "raft/core/raft.js",
    from: "if (promisesDurability(message.type)) {",
    to: 'if (promisesDurability(message.type) && (message.type !== "MsgAppResp" || message.to === this.id)) {',
  },
  {
    name: "vote-without-persist",
    bug: "a vote is granted and never stored",
    file: "raft/disk/append-pipeline.js",
    from: "const hardState = this.#hardState;",
    to: "const hardState = { ...this.#hardState, vote: 0 };",
  },
  {
    name: "commit-old-term",
    bug: "an entry of an earlier term is committed by counting (paper, figure 8)",
    file: "raft/core/log.js",
    from: "index <= this.committed || !this.matches(index, term)",
    to: "index <= this.committed",
  },
  {
    name: "ignore-term",
    bug: "messages of earlier terms count like those of this one",
    file: "raft/core/step.js",
    from: "else if (term < raft.term && term !== 0) {",
    to: "else if (term < raft.term && term < 0) {",
  },
  {
    name: "vote-for-stale-log",
    bug: "a vote goes to a candidate whose log is behind (paper, section 5.4.1)",
    file: "raft/core/election.js",
    from: "free && !raft.abstains && raft.log.isUpToDate(message.index, message.logTerm);",
    to: "free && !raft.abstains;",
  },
  {
    name: "do-forgotten-again",
    bug: "a request whose first attempt may be forgotten is done again",
    file: "cluster/state-machine/apply-command.js",
    from: "if (key !== undefined && mayBeForgotten(command, at, options)) {",
    to: "if (key !== undefined && mayBeForgotten(command, at, options) && at.index < 0) {",
  },
  {
    name: "vote-twice",
    bug: "a node votes for whoever asks, also twice in a term",
    file: "raft/core/election.js",
    from: "const free = raft.vote === candidate ||",
    to: "const free = true || raft.vote === candidate ||",
  },
  {
    name: "read-local",
    bug: "a read is answered from the state at hand, without asking the leader",
    file: "raft/reads/read-batcher.js",
    from: "        if (waiters.length === 0)\n            return;\n",
    to: "        this.#confirmed.push({ index: 0, waiters });\n        return;\n",
  },
  {
    name: "heartbeat-commits-all",
    bug: "a heartbeat tells the commit index to a node that may not have the entries",
    file: "raft/core/replication.js",
    from: "const commit = minIndex(peer.match, raft.log.committed);",
    to: "const commit = raft.log.committed;",
  },
  {
    name: "apply-twice",
    bug: "a repeated request id is applied again",
    file: "cluster/state-machine/apply-command.js",
    from: "const first = key === undefined ? undefined : rememberedRequest(state, key, evicted);",
    to: "const first = undefined;",
  },
  {
    name: "unknown-as-not-applied",
    bug: "a write whose fate is unknown is reported as not applied",
    file: "cluster/calls/leader-route.js",
    from: 'const outcome = unknown ? "unknown" : "not_applied";',
    to: 'const outcome = "not_applied";',
  },
  {
    name: "refusal-hides-attempt",
    bug: "a refusal for good is not_applied, whatever became of an attempt before it",
    file: "cluster/calls/leader-route.js",
    from: 'route.writes && (mayHaveHappened || error.outcome !== "not_applied")',
    to: 'route.writes && (error.outcome !== "not_applied" || (mayHaveHappened && passing.has(error.code)))',
  },
  {
    name: "minority-commits",
    bug: "half of the voters count as a majority",
    file: "raft/core/quorum.js",
    from: "const majorityOf = (voters) => Math.floor(voters.length / 2) + 1;",
    to: "const majorityOf = (voters) => Math.max(1, Math.floor(voters.length / 2));",
  },
  {
    name: "append-without-check",
    bug: "a follower takes entries that do not follow its log (paper, section 5.3)",
    file: "raft/core/replication.js",
    from: "if (!log.matches(index, logTerm)) {",
    to: "if (index > log.lastIndex) {",
  },
  {
    name: "trust-old-store",
    bug: "a node takes part with a store that is older than what it has promised",
    file: "cluster/start/start-cluster-node.js",
    from: "await checkWithPeers(",
    to: "if (Date.now() < 0) await checkWithPeers(",
  },
  {
    name: "vote-in-the-past",
    bug: "a node that came back without its store elects itself in an old configuration",
    file: "raft/core/raft.js",
    from: "return this.log.applied < (this.config.admission?.index ?? noIndex);",
    to: "return false;",
  },
  {
    name: "answer-evicted-id",
    bug: "a request id is still answered by the entry at which it leaves the window",
    file: "cluster/state-machine/apply-command.js",
    from: "if (row === undefined || evicted.some((change) => change.key === row))",
    to: "if (row === undefined)",
  },
  {
    name: "read-before-own-term",
    bug: "a single voter answers reads before it has applied an entry of its own term",
    file: "raft/reads/read-coordinator.js",
    from: "return term === undefined || deps.applied().term === term;",
    to: "return true;",
    subject: "registers",
  },
  {
    name: "lease-from-answer",
    bug: "a lease is measured from the answer of the quorum, not from the question",
    file: "raft/reads/read-coordinator.js",
    from: "this.#lease.grant(term, this.#roundAtMs);",
    to: "this.#lease.grant(term, deps.elapsedMs());",
    subject: "registers",
  },
  {
    name: "lease-through-sleep",
    bug: "a lease is measured with a clock that stands still while the machine sleeps",
    file: "raft/engine.js",
    from: "elapsedMs: () => clock.elapsedMs()",
    to: "elapsedMs: () => clock.monotonicMs()",
    subject: "registers",
  },
  {
    name: "blame-for-a-pause",
    bug: "a disk answers for a time in which the process stood still",
    file: "raft/disk/append-pipeline.js",
    from: "this.#deps.clock.runnableMs() - oldest",
    to: "this.#deps.clock.monotonicMs() - oldest",
    subject: "registers",
  },
  {
    name: "refuse-earlier-run",
    bug: "a leader that was restarted refuses what an earlier run of it may have appended",
    file: "raft/proposals/proposal-router.js",
    from: "if (proposal.term > term || proposal.term <= this.#options.startTerm)",
    to: "if (proposal.term > term)",
    subject: "registers",
  },
  {
    name: "keep-other-log",
    bug: "a start keeps a log with another entry than the one that the newest snapshot ends with",
    file: "raft/disk/recovery.js",
    from: "if (termIn(contents, snapshot.index) === snapshot.term)",
    to: "if (termIn(contents, snapshot.index) !== undefined)",
    subject: "registers",
  },
  {
    name: "foreign-chunk",
    bug: "a piece of a snapshot is taken from another node than the one that it names",
    file: "raft/snapshots/snapshot-receiver.js",
    from: 'message.type !== "MsgSnap" || message.from !== from',
    to: 'message.type !== "MsgSnap"',
    subject: "registers",
  },
  {
    name: "offer-to-learner",
    bug: "a transfer goes on when its target has become a learner",
    file: "raft/core/membership.js",
    from: "!tracker.isVoter(raft.leadTransferee)",
    to: "tracker.get(raft.leadTransferee) === undefined",
    subject: "registers",
  },
];
