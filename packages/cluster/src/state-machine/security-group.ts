/** Commands of security groups. Which network card names which group stands in the specifications of VMs. */
import {
  type CommandBodyOf,
  groupsNamedBy,
  limits,
  type SecurityGroupRecord,
  type SecurityRule,
  type VmSpec,
} from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import { sortedRecords } from "./state.ts";
import type { AppliersOf, ClusterState, CommandEntry, Outcome } from "./types.ts";

/** Users of a group that a refusal names. */
const namedMax = 5;

export const securityGroupAppliers: AppliersOf<"securityGroup"> = {
  "securityGroup.create": applyCreate,
  "securityGroup.set": applySet,
  "securityGroup.delete": applyDelete,
};

function applyCreate(state: ClusterState, body: CommandBodyOf<"securityGroup.create">, entry: CommandEntry): Outcome {
  const { name } = body;
  if (state.securityGroups.has(name)) {
    const hint = `Change that one: blixard security-group set ${name}`;
    return refuse("ALREADY_EXISTS", `there is a security group ${name} already`, hint);
  }
  if (state.securityGroups.size >= limits.securityGroupsMax) {
    return refuse("CONFLICT", `there are ${limits.securityGroupsMax} security groups already`);
  }
  const failed =
    preconditionFailed(entry.command, `security group ${name}`, 0) ??
    peersRefusal(state, name, [...body.in, ...body.out]);
  if (failed !== undefined) return failed;
  const group: SecurityGroupRecord = {
    ...{ name, in: body.in, out: body.out },
    createdUnixMs: entry.command.atUnixMs,
    createdIndex: entry.index,
    updatedIndex: entry.index,
  };
  return done({ group }, [{ table: "securityGroups", key: name, value: group }]);
}

function applySet(state: ClusterState, body: CommandBodyOf<"securityGroup.set">, entry: CommandEntry): Outcome {
  const { name } = body;
  const before = state.securityGroups.get(name);
  if (before === undefined) return groupNotFound(name);
  const group = { ...before, in: body.in ?? before.in, out: body.out ?? before.out, updatedIndex: entry.index };
  const failed =
    preconditionFailed(entry.command, `security group ${name}`, before.updatedIndex) ??
    peersRefusal(state, name, [...group.in, ...group.out]);
  if (failed !== undefined) return failed;
  return done({ group }, [{ table: "securityGroups", key: name, value: group }]);
}

function applyDelete(
  state: ClusterState,
  { name }: CommandBodyOf<"securityGroup.delete">,
  { command }: CommandEntry,
): Outcome {
  const group = state.securityGroups.get(name);
  if (group === undefined) return groupNotFound(name);
  const failed = preconditionFailed(command, `security group ${name}`, group.updatedIndex);
  if (failed !== undefined) return failed;
  const users = usersOf(state, name);
  if (users.length > 0) {
    const more = users.length > namedMax ? ` and ${users.length - namedMax} more` : "";
    const message = `the security group ${name} is used by ${users.slice(0, namedMax).join(", ")}${more}`;
    return refuse("CONFLICT", message, "Take it from them first: blixard vm set, blixard security-group set");
  }
  return done({ group }, [{ table: "securityGroups", key: name, value: undefined }]);
}

/** Why a VM cannot have network cards with these groups; undefined when it can. */
export function groupsRefusal(state: ClusterState, { networks = [] }: Pick<VmSpec, "networks">): Outcome | undefined {
  const named = networks.flatMap(({ securityGroups = [] }) => securityGroups);
  const missing = named.find((name) => !state.securityGroups.has(name));
  return missing === undefined ? undefined : groupNotFound(missing);
}

/** A rule about a group that there is not would begin to hold for whoever makes one of that name. */
function peersRefusal(state: ClusterState, own: string, rules: readonly SecurityRule[]): Outcome | undefined {
  const missing = groupsNamedBy(rules).find((name) => name !== own && !state.securityGroups.has(name));
  return missing === undefined ? undefined : groupNotFound(missing);
}

function usersOf(state: ClusterState, group: string): string[] {
  const vms = sortedRecords(state, "vms").filter(({ spec }) =>
    spec.networks?.some(({ securityGroups }) => securityGroups?.includes(group)),
  );
  const others = sortedRecords(state, "securityGroups").filter(
    ({ name, ...rules }) => name !== group && groupsNamedBy([...rules.in, ...rules.out]).includes(group),
  );
  return [...vms.map(({ name }) => `the VM ${name}`), ...others.map(({ name }) => `rules of the group ${name}`)];
}

function groupNotFound(name: string): Outcome {
  const hint = `Make it: blixard security-group create ${name} --in tcp:80 --out any`;
  return refuse("SECURITY_GROUP_NOT_FOUND", `there is no security group ${name}`, hint);
}
