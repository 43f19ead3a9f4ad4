/**
 * A node whose log is damaged comes back by itself, as after `blixard recover`:
 *
 *     the start fails, because the log proves that it is not whole
 *         -> a majority of the voters serves without this node?  no: wait, and say so
 *         -> the first time: start once more. Who was away may have what is missing, and a disk may have read badly once
 *         -> the second time: the store is moved aside, and the next start asks to be admitted again
 *
 * It never votes or acknowledges with the damaged log: nothing of it was opened for Raft. That nobody else comes back
 * before this node has caught up is the work of Raft: its removal is committed by a majority of the voters with it, of
 * which none that lost its log is one.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { connectClient } from "@blixard/client";
import {
  type BlixardError,
  type Clock,
  changedError,
  directAddresses,
  type Logger,
  messageOf,
  sleep,
} from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { loadOrCreateNodeKey } from "@blixard/identity";
import type { NodeRecord } from "@blixard/protocol";
import { isLogDamage } from "@blixard/storage/level";
import type { NodeConfig } from "../node-settings.ts";
import { backupName } from "./backup-name.ts";
import { readComeback, writeComeback } from "./comeback-file.ts";
import { checkEndpointId, type DataDir, type NodeFile, openDataDir } from "./data-dir.ts";
import { readMembers } from "./members-file.ts";
import { admittersNeeded, assertOthersCanAdmit, setStoreAside, votes } from "./set-store-aside.ts";
import { refuseDuplicateNode } from "./start-mode.ts";

/** A disk that damages the log twice in so short a time wants a person. */
export const comebackPauseMs = 24 * 3_600_000;
const answerTimeoutMs = 2_000;
const pollMs = 1_000;
const sayAgainMs = 60_000;

export interface ComebackDeps {
  readonly logger: Logger;
  readonly say: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Default: the system's. */
  readonly clock?: Clock;
}

interface Damaged {
  readonly dataDir: DataDir;
  readonly nodeFile: NodeFile;
  /** All members that this node knew, itself among them where that was written down. */
  readonly known: readonly NodeRecord[];
}

export class Comeback {
  readonly #config: NodeConfig;
  readonly #deps: ComebackDeps;
  readonly #clock: Clock;
  /** A start has failed, and enough of the others served then. */
  #isSecond = false;

  constructor(config: NodeConfig, deps: ComebackDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#clock = deps.clock ?? systemClock;
  }

  /**
   * Resolves when another start may help. @throws `error`, with what to do next, when it is no damage of the log or a person
   * has to decide; DUPLICATE_NODE, DATA_DIR_*, STORAGE_FAILED, and the reason of `signal`
   */
  async after(error: unknown): Promise<void> {
    if (!isLogDamage(error)) throw error;
    const damaged = await this.#judge(error as BlixardError);
    await this.#untilOthersServe(damaged, messageOf(error));
    if (!this.#isSecond) {
      this.#isSecond = true;
      this.#deps.logger.log("warn", "the log is damaged; the start is tried once more", { reason: messageOf(error) });
      return;
    }
    this.#isSecond = false;
    await this.#setAside(damaged, messageOf(error));
  }

  /** @throws `error` with another hint when this node may not come back by itself */
  async #judge(error: BlixardError): Promise<Damaged> {
    const { config, deps } = { config: this.#config, deps: this.#deps };
    const refuse = (hint: string): never => {
      throw changedError(error, { cause: error.cause, hint });
    };
    const dataDir = await openDataDir({ id: config.id, dataDir: config.dataDir }, deps.env);
    const { path, nodeFile, nodeId } = dataDir;
    const known = (await readMembers(path))?.nodes ?? [];
    if (nodeFile === undefined || !known.some((node) => node.id !== nodeId && votes(node))) throw error;
    try {
      assertOthersCanAdmit(nodeId, known);
    } catch (refused) {
      const { hint = "" } = refused as BlixardError;
      return refuse(`${messageOf(refused)}. ${hint}`);
    }
    if (!config.comeback) {
      return refuse(
        `With --no-comeback a person decides: blixard check --data-dir ${path}, then blixard recover --data-dir ${path}`,
      );
    }
    // A disk that is not mounted looks like that, and no lost write does.
    if (!existsSync(join(path, "log", "CURRENT")) || !existsSync(join(path, "node.key"))) throw error;
    checkEndpointId(dataDir, (await loadOrCreateNodeKey(join(path, "node.key"))).endpointId);
    const last = await readComeback(path);
    const sinceMs = last === undefined ? comebackPauseMs : this.#clock.unixMs() - last.startedUnixMs;
    if (last !== undefined && sinceMs < comebackPauseMs) {
      return refuse(
        `It came back by itself within a day before, and what it had then is in ${last.backup}. Look at the disk; then: blixard recover --data-dir ${path}`,
      );
    }
    return { dataDir, nodeFile, known };
  }

  /** Waits for as long as it takes: nothing that this node could do would bring the majority back. */
  async #untilOthersServe({ dataDir, nodeFile, known }: Damaged, reason: string): Promise<void> {
    const { logger, say, signal } = this.#deps;
    const voters = known.filter((node) => node.id !== dataDir.nodeId && votes(node));
    const needed = admittersNeeded(dataDir.nodeId, known);
    let saidAtMs: number | undefined;
    for (;;) {
      const answers = await Promise.all(voters.map((node) => serves(node, nodeFile.clusterId, signal)));
      const serving = answers.filter((isServing) => isServing).length;
      if (serving >= needed) return;
      if (saidAtMs === undefined || this.#clock.monotonicMs() - saidAtMs >= sayAgainMs) {
        saidAtMs = this.#clock.monotonicMs();
        const waitingFor = voters.filter((_, at) => answers[at] !== true).map(({ id }) => id);
        const hint = `Start the others. If they do not come back: blixard recover --data-dir ${dataDir.path}`;
        say(`the log of node ${dataDir.nodeId} is damaged; it waits until the others serve: ${waitingFor.join(", ")}`);
        logger.log("error", "the log is damaged, and too few voters serve to let this node in again; it waits", {
          ...{ reason, serving, needed, waitingFor, hint },
        });
      }
      await sleep(this.#clock, pollMs, signal);
    }
  }

  async #setAside({ dataDir, nodeFile, known }: Damaged, reason: string): Promise<void> {
    const { logger, say, signal } = this.#deps;
    const { path, nodeId } = dataDir;
    const members = await readMembers(path);
    const { clusterId, endpointId } = nodeFile;
    // The copy of a node that runs would take its place.
    await refuseDuplicateNode(dataDir, { members }, endpointId, signal);
    const backup = join(path, backupName(this.#clock));
    const others = known.filter((node) => node.id !== nodeId);
    await setStoreAside({ dataDir: path, nodeId, clusterId, backup, others }, this.#clock);
    await writeComeback(path, { formatVersion: 1, startedUnixMs: this.#clock.unixMs(), backup, reason });
    logger.log("error", "the log is damaged; the node comes back as a learner, without its store", {
      ...{ reason, keptIn: backup },
    });
    say(`the log of node ${nodeId} is damaged; it comes back as a learner, and its store is kept in ${backup}`);
  }
}

/** Whether a voter follows or is a leader: one that waits for others itself could admit nobody. */
async function serves({ id, endpointId, addresses }: NodeRecord, clusterId: string, signal: AbortSignal) {
  const targets = directAddresses(addresses).map((address) => ({ address, pin: endpointId }));
  if (targets.length === 0) return false;
  const client = connectClient({ addresses: targets, timeoutMs: answerTimeoutMs, unreachableMs: 0 });
  try {
    const health = await client.healthCheck({ signal });
    return health.ready && health.nodeId === id && health.clusterId === clusterId;
  } catch {
    return false;
  } finally {
    client.close();
  }
}
