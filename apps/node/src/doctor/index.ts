/** `blixard doctor`: whether this machine can run a node, and how a running one and its cluster are. */
import { resolve } from "node:path";
import { type BlixardClient, type LocalNode, parseNodeAddress } from "@blixard/client";
import { type Clock, type HostPort, requireHostPort } from "@blixard/common";
import type { NodeConfig } from "@blixard/server/settings";
import { checkCluster } from "./check-cluster.ts";
import {
  checkClock,
  checkDisk,
  checkOpenFiles,
  checkVersions,
  checkVirtualisation,
  checkVmNetworks,
  checkVmProcesses,
} from "./check-host.ts";
import { checkIroh, checkPort, checkUdp } from "./check-network.ts";
import { checkVmNetworksOf } from "./check-vm-networks.ts";
import { type Finding, notOk, ok } from "./finding.ts";

export type { Finding } from "./finding.ts";

/** The plain HTTP port stands this far above the bind port when nothing else is said. */
const httpPortOffset = 1_000;

export interface Examination {
  readonly config: NodeConfig;
  readonly dataDir: string;
  readonly clock: Clock;
  /** The node that runs on the data directory. */
  readonly running: LocalNode | undefined;
  /** All nodes of this user on this machine, which hold ports of it. */
  readonly nodes: readonly LocalNode[];
  /** For what only a running node can tell; undefined examines the machine alone. */
  readonly client: BlixardClient | undefined;
}

/** Changes nothing but for a few temporary files. Never throws for what it finds. */
export async function examine({ config, dataDir, clock, running, nodes, client }: Examination): Promise<Finding[]> {
  const bind = splitBind(config.bind);
  const present = running === undefined ? nodes : [running, ...nodes];
  const own = (port: number) => {
    const owner = present.find(({ bind: at, http }) => [at, http].some((each) => isAt(each, port)));
    return owner === undefined ? undefined : `node ${owner.nodeId}, process ${owner.pid}`;
  };
  return [
    ...checkVersions(),
    await checkOpenFiles(),
    await checkClock(clock),
    ...(await checkDisk(resolve(dataDir), config.electionTimeoutMs, clock)),
    ...(await checkVirtualisation(config.vmDriver, clock)),
    ...(await checkVmProcesses(config, clock)),
    await checkVmNetworks(clock),
    await checkUdp(bind.host),
    await checkPort("bind", bind, own(bind.port)),
    ...(await checkHttp(config, bind.port, own)),
    ...(await checkIroh(bind.host, config)),
    ...(client === undefined
      ? [notOk("cluster", "unknown", "no running node was asked", "name one: blixard doctor --address HOST:PORT")]
      : [...(await checkCluster(client, clock)), ...(await checkVmNetworksOf(client))]),
  ];
}

function isAt(address: string, port: number): boolean {
  return address !== "off" && parseNodeAddress(address).port === port;
}

async function checkHttp(
  { http }: NodeConfig,
  bindPort: number,
  own: (port: number) => string | undefined,
): Promise<Finding[]> {
  if (http === "off") return [ok("port http", "off")];
  const wanted =
    http === undefined ? { host: "127.0.0.1", port: bindPort === 0 ? 0 : bindPort + httpPortOffset } : splitBind(http);
  return [await checkPort("http", wanted, own(wanted.port))];
}

function splitBind(bind: string): HostPort {
  const { host, port } = requireHostPort(bind, "the address");
  return { host: host === "localhost" ? "127.0.0.1" : host, port };
}
