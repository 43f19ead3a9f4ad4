/** User data on its way into the state: sealed, with a mark in its place. */
import { fromUtf8, notApplied } from "@blixard/common";
import { isSealedMark, type SealedSecret, sealedMark, type VmSpec } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { sealedFor, secretContext } from "../state-machine/secret.ts";

/** @throws INVALID_ARGUMENT for the mark of user data that was sealed before */
export function sealUserData(
  { sealing, identity, stateMachine }: Pick<NodeParts, "sealing" | "identity" | "stateMachine">,
  spec: VmSpec,
  { vmId, node }: { readonly vmId: string; readonly node: number | null },
): { readonly spec: VmSpec; readonly userData?: SealedSecret } {
  const text = spec.cloudInit?.userData;
  if (text === undefined) return { spec };
  if (isSealedMark(text)) {
    throw notApplied("INVALID_ARGUMENT", "spec.cloudInit.userData: that is what is shown of user data; give the text");
  }
  const bytes = fromUtf8(text);
  const context = secretContext(identity().clusterId, vmId);
  return {
    spec: { ...spec, cloudInit: { ...spec.cloudInit, userData: sealedMark(bytes.length) } },
    userData: sealing.seal(bytes, context, sealedFor(stateMachine.state, node)),
  };
}

/**
 * A request as its hash is made of it: every member has that, and could try texts until one fits. So only the length of user
 * data counts for whether two requests with one id are the same.
 */
export function withoutUserData(name: string, request: unknown): unknown {
  if (name !== "vm.create") return request;
  const { spec, ...rest } = request as { readonly spec: VmSpec };
  const text = spec.cloudInit?.userData;
  if (text === undefined) return request;
  return { ...rest, spec: { ...spec, cloudInit: { ...spec.cloudInit, userData: sealedMark(fromUtf8(text).length) } } };
}
