import { describe, expect, it } from "@jest/globals";
import { describeStateStore } from "../testing/describe-state-store.ts";
import { MemoryStateStore } from "./memory-state-store.ts";

describeStateStore("MemoryStateStore", { describe, it, expect }, async () => {
  const store = new MemoryStateStore();
  return { open: async () => store, dispose: async () => {} };
});
