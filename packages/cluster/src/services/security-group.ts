/** The methods of security groups. `apply` checks that nothing names a group before it goes. */
import { notApplied } from "@blixard/common";
import type { SecurityGroupRecord } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { pageOf } from "./page.ts";

/** What these methods use of the node. */
type SecurityGroupParts = Pick<NodeParts, "stateMachine" | "proposals">;

type SecurityGroupMethods = Extract<keyof Handlers, `securityGroup.${string}`>;

export function securityGroupHandlers(parts: SecurityGroupParts): Pick<Handlers, SecurityGroupMethods> {
  const written = async (body: Parameters<NodeParts["proposals"]["propose"]>[0], call: CallScope) => {
    const { index, term, value } = await parts.proposals.propose<{ readonly group: SecurityGroupRecord }>(body, call);
    return { index, term, group: value.group };
  };
  return {
    "securityGroup.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      const { appliedIndex } = version.value;
      return pageOf(state.securityGroups.values(), asked, { keyOf: ({ name }) => name, index: appliedIndex });
    },
    "securityGroup.get": async ({ name }) => {
      const group = parts.stateMachine.state.securityGroups.get(name);
      if (group !== undefined) return group;
      throw notApplied("SECURITY_GROUP_NOT_FOUND", `there is no security group ${name}`, {
        hint: "List them with: blixard security-group list",
      });
    },
    "securityGroup.create": (request, call) => written({ type: "securityGroup.create", ...request }, call),
    "securityGroup.set": (request, call) => written({ type: "securityGroup.set", ...request }, call),
    "securityGroup.delete": ({ name }, call) => written({ type: "securityGroup.delete", name }, call),
  };
}
