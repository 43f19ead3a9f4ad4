/** The stores over databases that are already open: what the simulator runs on its own disk. */
import { discardMetrics, type Logger, silentLogger } from "@blixard/common";
import type { LogStore, SnapshotStore } from "@blixard/raft";
import type { StateStore } from "../state-store.ts";
import { countStart } from "./count-start.ts";
import { DamageLedger } from "./damage-ledger.ts";
import { type LevelDatabase, LevelHandle } from "./level-handle.ts";
import { LevelLogStore } from "./level-log-store.ts";
import { LevelSnapshotStore } from "./level-snapshot-store.ts";
import { LevelStateStore } from "./level-state-store.ts";
import { noSeal } from "./log-seal.ts";
import type { SlotDisk } from "./slot-file.ts";
import { VoteFile } from "./vote-file.ts";

export interface OpenLevelDatabases {
  readonly log: LevelDatabase;
  readonly snapshots: LevelDatabase;
  readonly state: LevelDatabase;
  /** Holds the second copy of term and vote. */
  readonly voteFile: SlotDisk;
  /** Names the node in errors. */
  readonly location: string;
  readonly logger?: Logger;
}

/** The same stores as `openLevelStorage` gives, without its checks of files and directories. */
export async function openStoresOver(databases: OpenLevelDatabases): Promise<{
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly state: StateStore;
  /** See `LevelStorage`. */
  readonly starts: number;
}> {
  const { location, logger = silentLogger } = databases;
  const handle = (part: "log" | "snapshots" | "state") => LevelHandle.over(databases[part], `${location}/${part}`);
  const log = handle("log");
  const damage = new DamageLedger(discardMetrics);
  return {
    starts: await countStart(log),
    log: new LevelLogStore({
      handle: log,
      voteFile: VoteFile.over(databases.voteFile, `${location}/vote`),
      seal: noSeal,
      writes: 0,
      logger,
      damage,
    }),
    snapshots: await LevelSnapshotStore.open(handle("snapshots"), damage),
    state: new LevelStateStore(handle("state"), logger, damage),
  };
}
