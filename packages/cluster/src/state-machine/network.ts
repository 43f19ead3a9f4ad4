/** Commands of networks that have records. Which VM has which address in one stands in the VMs. */
import { type CommandBodyOf, limits, type NetworkRecord } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import { sortedRecords } from "./state.ts";
import type { AppliersOf, ClusterState, CommandEntry, Outcome } from "./types.ts";

export const networkAppliers: AppliersOf<"network"> = {
  "network.create": applyCreate,
  "network.delete": applyDelete,
};

function applyCreate(state: ClusterState, body: CommandBodyOf<"network.create">, entry: CommandEntry): Outcome {
  const { name, networkId, range, exclude, bridge, range6 } = body;
  if (state.networks.has(name)) {
    const hint = "Choose another name, or delete that one first.";
    return refuse("ALREADY_EXISTS", `there is a network ${name} already`, hint);
  }
  if (sortedRecords(state, "networks").some((other) => other.networkId === networkId)) {
    return refuse("CONFLICT", `the network id ${networkId} is in use`);
  }
  if (state.networks.size >= limits.networksMax) {
    return refuse("CONFLICT", `there are ${limits.networksMax} networks already`);
  }
  const failed = preconditionFailed(entry.command, `network ${name}`, 0);
  if (failed !== undefined) return failed;
  const network: NetworkRecord = {
    ...{ name, networkId, exclude },
    ...(range === undefined ? {} : { range }),
    ...(bridge === undefined ? {} : { bridge }),
    ...(range6 === undefined ? {} : { range6 }),
    createdUnixMs: entry.command.atUnixMs,
    createdIndex: entry.index,
    updatedIndex: entry.index,
  };
  return done({ network }, [{ table: "networks", key: name, value: network }]);
}

function applyDelete(
  state: ClusterState,
  { name }: CommandBodyOf<"network.delete">,
  { command }: CommandEntry,
): Outcome {
  const network = state.networks.get(name);
  if (network === undefined) return networkNotFound(name);
  const failed = preconditionFailed(command, `network ${name}`, network.updatedIndex);
  if (failed !== undefined) return failed;
  const user = sortedRecords(state, "vms").find(({ cards = [] }) =>
    cards.some(({ networkId }) => networkId === network.networkId),
  );
  if (user !== undefined) {
    const hint = `Delete the VM first: blixard vm delete ${user.name}`;
    return refuse("CONFLICT", `the VM ${user.name} is in the network ${name}`, hint);
  }
  return done({ network }, [{ table: "networks", key: name, value: undefined }]);
}

export function networkNotFound(name: string): Outcome {
  return refuse("NETWORK_NOT_FOUND", `there is no network ${name}`, "List the networks with: blixard network list");
}
