/** Machines on one local network, each a network namespace of its own, whose cable can be pulled. Linux, needs root. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface LanMachine {
  /** As `ip netns` names it. */
  readonly namespace: string;
  /** Its address, which this process reaches too. */
  readonly host: string;
  /** Whether its cable is in. While it is not, nobody reaches the machine, this process included. */
  plug(isIn: boolean): Promise<void>;
}

export interface Lan {
  readonly machines: readonly LanMachine[];
  /** Ends no process: whatever runs in the namespaces ends before. */
  close(): Promise<void>;
}

/** The range for measurements (RFC 2544), so that no real network is shadowed. Each process has a network of its own. */
const networkOf = (pid: number) => `198.19.${1 + (pid % 255)}`;

/**
 * Makes a network of `count` machines, at most 200, with `ip`. What an earlier process left behind is removed first.
 * @throws what `ip` says, after it has removed what it made
 */
export async function startLan(count: number): Promise<Lan> {
  const ip = (...args: string[]) => run("ip", args);
  const { pid } = process;
  const bridge = `blxbr${pid}`;
  const network = networkOf(pid);
  const machines = Array.from({ length: count }, (_, at) => ({
    namespace: `blxlan-${pid}-${at}`,
    link: `blxl${pid}-${at}`,
    host: `${network}.${at + 2}`,
  }));
  const close = async () => {
    // A link goes with the namespace of its other end.
    for (const { namespace } of machines) await ip("netns", "delete", namespace).catch(() => {});
    await ip("link", "delete", bridge).catch(() => {});
  };
  await removeAbandoned();
  try {
    await ip("link", "add", bridge, "type", "bridge");
    await ip("address", "add", `${network}.1/24`, "dev", bridge);
    await ip("link", "set", bridge, "up");
    for (const { namespace, link, host } of machines) {
      const inside = (...args: string[]) => ip("-n", namespace, ...args);
      await ip("netns", "add", namespace);
      await ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace);
      await ip("link", "set", link, "master", bridge, "up");
      await inside("link", "set", "lo", "up");
      await inside("address", "add", `${host}/24`, "dev", "eth0");
      await inside("link", "set", "eth0", "up");
    }
  } catch (error) {
    await close();
    throw error;
  }
  const plugOf = (link: string) => async (isIn: boolean) => {
    await ip("link", "set", link, isIn ? "up" : "down");
  };
  return { machines: machines.map(({ namespace, host, link }) => ({ namespace, host, plug: plugOf(link) })), close };
}

/** Those of a process that was killed may have the addresses of this one. */
async function removeAbandoned(): Promise<void> {
  const isGone = (pid: string | undefined) => !existsSync(`/proc/${pid}`);
  const { stdout: spaces } = await run("ip", ["netns", "list"]);
  for (const [namespace, pid] of spaces.matchAll(/^blxlan-(\d+)-\d+/gm)) {
    if (isGone(pid)) await run("ip", ["netns", "delete", namespace]);
  }
  const { stdout: bridges } = await run("ip", ["-br", "link", "show", "type", "bridge"]);
  for (const [bridge, pid] of bridges.matchAll(/^blxbr(\d+)/gm)) {
    if (isGone(pid)) await run("ip", ["link", "delete", bridge]);
  }
}
