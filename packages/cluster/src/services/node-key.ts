/**
 * How a node gets another key in place. The leader asks the node for its next key, of which both of its keys speak, and makes
 * it known; the node does the rest (`duties/own-key-duty.ts`).
 */
import { type BlixardError, fromHex, notApplied, toHex } from "@blixard/common";
import { type KeyChange, keyChangeBytes, type NodeRecord, type ParsedRequestOf } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { assertSpeaksFor } from "../calls/identify.ts";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { sortedRecords } from "../state-machine/state.ts";
import { nodeOf } from "./node.ts";
import { refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type KeyParts = Pick<
  NodeParts,
  | "identity"
  | "keyRotation"
  | "options"
  | "peerCalls"
  | "proposals"
  | "raft"
  | "signatures"
  | "stateMachine"
  | "transport"
>;

type KeyMethods = "node.rotateKey" | "node.nextKey" | "node.useKey";

export function nodeKeyHandlers(parts: KeyParts): Pick<Handlers, KeyMethods> {
  return {
    "node.rotateKey": ({ id }, call) => rotate(parts, id, call),
    "node.nextKey": (request) => nextKey(parts, request),
    "node.useKey": async ({ change, signature }, call) => {
      assertSpeaksFor(call, change.nodeId);
      assertSigned(parts, change.nextEndpointId, keyChangeBytes("use", parts.identity().clusterId, change), signature);
      const { index, term } = await parts.proposals.propose({ type: "node.useKey", ...change }, call);
      return { index, term };
    },
  };
}

async function rotate(parts: KeyParts, id: number, call: CallScope) {
  refuseIfMatch(call, "a node");
  const node = nodeOf(parts, id);
  assertAllAnswer(parts);
  const { incarnation, endpointId, keyNumber = 0 } = node;
  const asked = { nodeId: id, incarnation, number: keyNumber + 1, endpointId };
  const { nextEndpointId, signature, nextSignature } =
    id === parts.options.nodeId
      ? await nextKey(parts, asked)
      : await parts.peerCalls.forward(id, "node.nextKey", asked, call, call.meta.timeoutMs);
  const change = { ...asked, nextEndpointId };
  const statement = keyChangeBytes("offer", parts.identity().clusterId, change);
  assertSigned(parts, endpointId, statement, signature);
  assertSigned(parts, nextEndpointId, statement, nextSignature);
  const { index, term } = await parts.proposals.propose({ type: "node.offerKey", ...change }, call);
  return { index, term, nodeId: id, endpointId: nextEndpointId };
}

/** Every member has to know the next key before it is used: what does not answer now would hold the rotation up. @throws CONFLICT */
function assertAllAnswer(parts: KeyParts): void {
  const silent = sortedRecords(parts.stateMachine.state, "nodes").filter(({ id }) => !isReachable(parts, id));
  if (silent.length === 0) return;
  const ids = silent.map(({ id }) => id).join(", ");
  throw notApplied("CONFLICT", `node ${ids} does not answer, and every member has to know a key before it is used`, {
    hint: "Bring it back first, or remove it: blixard cluster remove ID --force",
  });
}

/** Makes the next key of this node, or takes the one that it has made, so that who asks again is answered alike. */
async function nextKey(parts: KeyParts, asked: ParsedRequestOf<"node.nextKey">) {
  const { keyRotation, signatures, options, transport } = parts;
  if (keyRotation === undefined) throw notApplied("UNSUPPORTED", `node ${options.nodeId} keeps the key that it has`);
  const isPresent = asked.nodeId === options.nodeId && asked.endpointId === transport.endpointId;
  if (!isPresent) throw changing(options.nodeId);
  const next = await keyRotation.next();
  const change = { ...asked, nextEndpointId: next.endpointId };
  const statement = keyChangeBytes("offer", parts.identity().clusterId, change);
  return {
    nextEndpointId: next.endpointId,
    signature: toHex(signatures.sign(statement)),
    nextSignature: toHex(next.sign(statement)),
  };
}

function changing(nodeId: number): BlixardError {
  return notApplied("CONFLICT", `node ${nodeId} runs with another key already: its last rotation is about to end`, {
    hint: "Try again soon. See: blixard nodes list -o wide",
  });
}

/** @throws PERMISSION_DENIED */
function assertSigned({ signatures }: KeyParts, endpointId: string, statement: Uint8Array, signature: string): void {
  if (signatures.verify(endpointId, statement, fromHex(signature) ?? new Uint8Array())) return;
  throw notApplied("PERMISSION_DENIED", `the key ${endpointId} has not signed this`);
}

/** The rotation of a node that is under way; undefined while there is none. */
export function changeOf(node: NodeRecord): KeyChange | undefined {
  const { id, incarnation, endpointId, keyNumber = 0, nextKey: next } = node;
  if (next === undefined) return undefined;
  return { nodeId: id, incarnation, number: keyNumber + 1, endpointId, nextEndpointId: next.endpointId };
}
