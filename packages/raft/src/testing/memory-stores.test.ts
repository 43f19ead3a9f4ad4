import { describe, expect, it } from "@jest/globals";
import { describeLogStore } from "./describe-log-store.ts";
import { describeSnapshotStore } from "./describe-snapshot-store.ts";
import { MemoryLogStore } from "./memory-log-store.ts";
import { MemorySnapshotStore } from "./memory-snapshot-store.ts";

const kept = <Store>(store: Store) => ({ open: async () => store, dispose: async () => {} });

describeLogStore("MemoryLogStore", { describe, it, expect }, async () => kept(new MemoryLogStore()));
describeSnapshotStore("MemorySnapshotStore", { describe, it, expect }, async () => kept(new MemorySnapshotStore()));
