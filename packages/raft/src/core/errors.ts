/**
 * The errors of the core. Each is thrown before anything changed, so the caller may retry or give up at will.
 */
import { BlixardError, notApplied } from "@blixard/common";
import type { RaftErrorCode } from "./raft-core.ts";

/** An error whose `code` is one of the closed set {@link RaftErrorCode}. */
export class RaftError extends BlixardError {
  declare readonly code: RaftErrorCode;

  constructor(code: RaftErrorCode, message: string) {
    super(code, message, { outcome: "not_applied" });
  }
}

export const proposalDropped = (): RaftError => new RaftError("PROPOSAL_DROPPED", "raft proposal dropped");

export const localMessageStepped = (): RaftError =>
  new RaftError("STEP_LOCAL_MSG", "raft: a peer sent a message that only the node itself may step");

export const peerNotFound = (): RaftError =>
  new RaftError("STEP_PEER_NOT_FOUND", "raft: a response came from a node outside the configuration");

/**
 * A configuration change that cannot be carried out. Every node that applies the entry reaches the same verdict
 * and none of them changes its configuration. Its `code` is CONF_CHANGE_INVALID.
 */
export const invalidConfChange = (reason: string): BlixardError => notApplied("CONF_CHANGE_INVALID", reason);
