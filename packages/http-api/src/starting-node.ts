/** Answers for a node that has not started yet: its ports are bound first, so that a busy one is found before anything changes. */
import { notApplied } from "@blixard/common";
import type { BlobStore, NodeService } from "./node-service.ts";

const reason = "the node is starting";
const unavailable = () => notApplied("UNAVAILABLE", reason, { hint: "Try again soon." });
const starting = () => Promise.reject(unavailable());

export const startingService: NodeService = {
  call: starting,
  stream: starting,
  authenticate: () => {
    throw unavailable();
  },
  ready: () => ({ ready: false, reason }),
};

export const startingBlobs: BlobStore = { put: starting };
