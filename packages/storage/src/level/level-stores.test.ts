import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeLogStore, describeSnapshotStore } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { describeStateStore } from "../testing/describe-state-store.ts";
import { type LevelStorage, openLevelStorage } from "./open-level-storage.ts";

/** One store of a data directory; closing it closes the directory, so that it can be opened again. */
function storeOf<Name extends "log" | "snapshots" | "state">(name: Name) {
  return async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "blixard-level-"));
    let storage: LevelStorage | undefined;
    const open = async (): Promise<LevelStorage[Name]> => {
      await storage?.close();
      storage = await openLevelStorage({ dataDir });
      return storage[name];
    };
    const dispose = async () => {
      await storage?.close();
      await rm(dataDir, { recursive: true });
    };
    return { open, dispose };
  };
}

describeLogStore("LevelLogStore", { describe, it, expect }, storeOf("log"));
describeSnapshotStore("LevelSnapshotStore", { describe, it, expect }, storeOf("snapshots"));
describeStateStore("LevelStateStore", { describe, it, expect }, storeOf("state"));
