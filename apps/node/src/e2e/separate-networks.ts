/** Machines that cannot reach each other: each in a network namespace of its own, which only knows the way to a relay. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface SeparateNetworks {
  /** Which every network reaches. The namespace of this process has it. */
  readonly relayHost: string;
  /** The namespace and the address of each machine. */
  readonly machines: readonly { readonly namespace: string; readonly host: string }[];
  close(): Promise<void>;
}

/** Of the range for measurements (RFC 2544), so that no real network is shadowed. */
const relayHost = "198.19.0.1";

/** Makes `count` of them with `ip`, which needs root. */
export async function separateNetworks(count: number): Promise<SeparateNetworks> {
  const ip = (...args: string[]) => run("ip", args);
  const machines = Array.from({ length: count }, (_, at) => ({
    namespace: `blx-${process.pid}-${at}`,
    link: `blx${process.pid}-${at}`,
    host: `198.18.${at}.2`,
    gateway: `198.18.${at}.1`,
  }));
  const close = async () => {
    // A link goes with the namespace of its other end.
    for (const { namespace } of machines) await ip("netns", "delete", namespace).catch(() => {});
  };
  await removeAbandoned();
  try {
    for (const { namespace, link, host, gateway } of machines) {
      const inside = (...args: string[]) => ip("-n", namespace, ...args);
      await ip("netns", "add", namespace);
      await ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace);
      await ip("address", "add", `${gateway}/24`, "dev", link);
      await ip("link", "set", link, "up");
      await inside("link", "set", "lo", "up");
      await inside("address", "add", `${host}/24`, "dev", "eth0");
      await inside("link", "set", "eth0", "up");
      await inside("route", "add", relayHost, "via", gateway);
    }
    await ip("address", "add", `${relayHost}/32`, "dev", machines[0]?.link ?? "");
  } catch (error) {
    await close();
    throw error;
  }
  return { relayHost, machines: machines.map(({ namespace, host }) => ({ namespace, host })), close };
}

/** Those of a process that was killed have the same addresses. */
async function removeAbandoned(): Promise<void> {
  const { stdout } = await run("ip", ["netns", "list"]);
  for (const [namespace, pid] of stdout.matchAll(/^blx-(\d+)-\d+/gm)) {
    if (!existsSync(`/proc/${pid}`)) await run("ip", ["netns", "delete", namespace]);
  }
}
