/**
 * Brings a cluster back that has lost its majority for good: one survivor becomes its only voter. The log of the
 * survivor is kept as it is, also what was never committed, and entries that take everybody else out are appended
 * to it as committed. What only the lost nodes held is gone.
 */
import { join } from "node:path";
import { BlixardError, type Clock } from "@blixard/common";
import { type Command, decodeCommand, encodeCommand } from "@blixard/protocol";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  type ConfChangeOp,
  type ConfState,
  type Entry,
  type LogContents,
} from "@blixard/raft";
import { backupName } from "@blixard/server/data-dir";
import { assertStoreNotInUse, copyStore, openLevelStorage } from "@blixard/storage/level";
import { checkDataDir, type DataDirReport } from "./check-data-dir.ts";

export interface ClusterRecoveryPlan {
  readonly dataDir: string;
  readonly nodeId: number;
  readonly clusterId: string;
  /** Compare them with those of other survivors, term of the last entry first: recover the most advanced one. */
  readonly lastTerm: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly voters: readonly number[];
  readonly learners: readonly number[];
  /** They must never start again with the data that they have. */
  readonly removed: readonly { readonly id: number; readonly name: string }[];
  /** VMs of removed nodes: shown as Unknown, until somebody starts them. */
  readonly orphanedVms: readonly string[];
  /** The store is copied there before it is changed. */
  readonly backup: string;
}

/** Only looks. @throws DATA_DIR_IN_USE, STORAGE_CORRUPT, CONFLICT when there is nothing to recover */
export async function planClusterRecovery(path: string, clock: Clock): Promise<ClusterRecoveryPlan> {
  const report = await checkDataDir(path);
  const { dataDir, nodeFile, store } = report;
  const [damage] = report.findings.filter(({ ok }) => !ok);
  if (damage !== undefined) {
    throw new BlixardError("STORAGE_CORRUPT", `${damage.part}: ${damage.detail}`, {
      hint: "Recover the cluster from a survivor that is whole: blixard check --data-dir DIR",
    });
  }
  if (nodeFile === undefined || store?.log === undefined) {
    throw new BlixardError("DATA_DIR_INVALID", `${dataDir} does not belong to a member of a cluster`);
  }
  const { nodeId, clusterId } = nodeFile;
  const { log } = store;
  const { conf, ids } = membershipOf(report, log);
  const others = [...ids].filter((id) => id !== nodeId).sort((a, b) => a - b);
  if (others.length === 0) {
    throw new BlixardError("CONFLICT", `node ${nodeId} is the only member already`, {
      hint: "Start it: it needs nobody else.",
    });
  }
  const names = new Map(report.nodes.map(({ id, name }) => [id, name]));
  return {
    dataDir,
    nodeId,
    clusterId,
    lastTerm: log.entries.at(-1)?.term ?? log.base.term,
    lastIndex: log.base.index + log.entries.length,
    commitIndex: log.hardState.commit,
    voters: conf.voters,
    learners: conf.learners,
    removed: others.map((id) => ({ id, name: names.get(id) ?? `n${id}` })),
    orphanedVms: others.flatMap((id) => report.vmsByNode.get(id) ?? []).sort(),
    backup: join(dataDir, backupName(clock)),
  };
}

/** Does what the plan says. A crash before its one write changes nothing; the backup stays. */
export async function recoverCluster(plan: ClusterRecoveryPlan, clock: Clock): Promise<void> {
  const { dataDir, nodeId } = plan;
  await assertStoreNotInUse(dataDir);
  await copyStore(dataDir, plan.backup);
  const storage = await openLevelStorage({ dataDir });
  try {
    const log = await storage.log.load();
    const last = log.base.index + log.entries.length;
    if (last !== plan.lastIndex) throw new BlixardError("CONFLICT", "the log has changed since the plan was made");
    const term = asTerm(log.hardState.term + 1);
    const bodies = entryBodies(plan, clock);
    const entries = bodies.map((body, at): Entry => ({ term, index: asLogIndex(last + 1 + at), ...body }));
    const commit = asLogIndex(last + entries.length);
    await storage.log.append({ entries, hardState: { term, vote: asNodeId(nodeId), commit } });
  } finally {
    await storage.close();
  }
}

type EntryBody =
  | { readonly kind: "normal"; readonly data: Uint8Array }
  | Pick<Extract<Entry, { readonly kind: "confChange" }>, "kind" | "change">;

function entryBodies(plan: ClusterRecoveryPlan, clock: Clock): EntryBody[] {
  const { nodeId, voters, learners } = plan;
  const change = (op: ConfChangeOp["op"], id: number): EntryBody => ({
    kind: "confChange",
    change: { version: 1, transition: "auto", changes: [{ op, id: asNodeId(id) }] },
  });
  const actor = { kind: "system", id: "cluster-recover" } as const;
  const command = (body: Command["body"]): EntryBody => ({
    kind: "normal",
    data: encodeCommand({ requestId: "", atUnixMs: clock.unixMs(), actor, body }),
  });
  return [
    // A configuration is never without a voter.
    ...(voters.includes(nodeId) ? [] : [change("addVoter", nodeId)]),
    ...[...voters, ...learners].filter((id) => id !== nodeId).map((id) => change("remove", id)),
    ...(voters.includes(nodeId) ? [] : [command({ type: "node.update", nodeId, role: "voter" })]),
    ...plan.removed.map(({ id }) => command({ type: "node.remove", nodeId: id })),
  ];
}

/** The configuration at the end of the log, and every node that it or the state knows. */
function membershipOf({ store, nodes }: DataDirReport, { base, entries }: LogContents) {
  const applied = store?.applied;
  const start = applied !== undefined && applied.index > 0 ? applied : (store?.snapshot ?? applied);
  let conf: ConfState = start?.confState ?? {
    voters: [],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  const ids = new Set<number>(nodes.map(({ id }) => id));
  for (const entry of entries.slice(Math.max(0, (start?.index ?? 0) - base.index))) {
    if (entry.kind === "confChange") conf = changed(conf, entry.change.changes);
    else if (entry.data.length > 0) {
      const { body } = decodeCommand(entry.data);
      if (body.type === "node.admit" || body.type === "cluster.init") ids.add(body.node.id);
      if (body.type === "node.remove") ids.delete(body.nodeId);
    }
  }
  if (conf.votersOutgoing.length > 0) {
    throw new BlixardError("UNSUPPORTED", "the survivor stands in the middle of a change of several voters", {
      hint: "Choose another survivor.",
    });
  }
  for (const id of [...conf.voters, ...conf.learners]) ids.add(id);
  return { conf, ids };
}

function changed(conf: ConfState, changes: readonly ConfChangeOp[]): ConfState {
  let { voters, learners } = conf;
  for (const { op, id } of changes) {
    if (op === "update") continue;
    voters = voters.filter((other) => other !== id);
    learners = learners.filter((other) => other !== id);
    if (op === "addVoter") voters = [...voters, id];
    if (op === "addLearner") learners = [...learners, id];
  }
  return { ...conf, voters, learners };
}
