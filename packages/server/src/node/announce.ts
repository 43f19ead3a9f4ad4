/** What a node that starts says to the person at its terminal, and to the log. */
import { describeEndpoint, type JoinAttempt } from "@blixard/cluster";
import { directAddresses, hostOf, isLoopbackHost, type Logger } from "@blixard/common";
import { limits } from "@blixard/protocol";
import type { NodeConfig } from "../node-settings.ts";
import type { BoundPorts } from "./ports.ts";
import type { StartPlan } from "./start-mode.ts";

type Say = (text: string) => void;
type JoinPlan = Extract<StartPlan, { readonly type: "join" }>;

export async function sayJoining(say: Say, { byAddress, target }: JoinPlan, bind: string): Promise<void> {
  const [asked] = target.endpoints;
  if (byAddress === undefined || asked === undefined) return;
  const onLoopback = [byAddress, bind].every((text) => isLoopbackHost(hostOf(text)));
  const proved = onLoopback && (await target.localProof?.(asked)) !== undefined;
  const how = proved ? "this user can read the secret of the node there" : "somebody has to accept it there";
  say(`joining ${byAddress} without a ticket: ${how}`);
}

export function sayAttempt(say: Say, { endpoint, error }: JoinAttempt): void {
  if (error === undefined) say(`asking node ${describeEndpoint(endpoint)}`);
  // The person is told what to do about that one by itself.
  else if (error.code !== "JOIN_PENDING") say(`  ${endpoint.endpointId.slice(0, 10)}: ${error.message}`);
}

export function sayPending(say: Say, { byAddress, target }: JoinPlan, endpointId: string): void {
  const [asked] = target.endpoints;
  say("This node waits until an operator of the cluster accepts it. Its key is");
  say(`  ${endpointId}`);
  say(`and ${byAddress ?? "the node that was asked"} showed the key ${asked?.endpointId ?? "of no node"}.`);
  say(`On a member:  blixard cluster add ${endpointId}`);
}

export function sayServing(
  deps: { readonly logger: Logger; readonly say: Say },
  plan: StartPlan,
  { bind, http, plain }: BoundPorts,
  { nodeId, clusterId }: { readonly nodeId: number; readonly clusterId: string },
): void {
  const { logger, say } = deps;
  logger.log("info", "serving", { nodeId, clusterId, bind, http });
  if (plain !== undefined && !isLoopbackHost(hostOf(plain.address))) {
    logger.log("warn", "other machines reach the plain HTTP API, and tokens cross the network as they are", {
      http,
      hint: `Leave --http on loopback: ${bind} serves the same over TLS.`,
    });
  }
  if (plan.type !== "bootstrap") return;
  say(`This is a new cluster, ${clusterId}. Another node joins it`);
  say(`  on this machine:  blixard node --id 2 --bind 127.0.0.1:7002 --join ${bind}`);
  say(
    "  on another one:   blixard ticket create --role voter, and there: blixard node --id 2 --bind HOST:PORT --join-file FILE",
  );
}

/** Others keep a few addresses of a node, and nobody but a person knows which of many they can use. */
export function warnOfManyAddresses(logger: Logger, config: NodeConfig, { adapter }: BoundPorts): void {
  const addresses = directAddresses(adapter.addresses());
  const countMax = limits.addressesPerNodeMax;
  if (config.advertise.length > 0 || addresses.length <= countMax) return;
  logger.log("warn", `this machine has ${addresses.length} addresses, and others are told of ${countMax}`, {
    told: addresses.slice(0, countMax),
    notTold: addresses.slice(countMax, 2 * countMax),
    hint: "Name those that others can use: --advertise HOST:PORT,...; or bind one: --bind HOST:PORT",
  });
}
