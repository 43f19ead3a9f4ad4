/**
 * Network cards that are plugged in Linux bridges of the host: which bridges can take some, and the taps of those that run. Frames
 * pass between tap and bridge in the kernel, so all that is done here is to look, and to take down the tap of a card that is not
 * wanted any more while its guest keeps it.
 */
import { execFile } from "node:child_process";
import { readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { isDeepStrictEqual, promisify } from "node:util";
import { messageOf, systemErrorCodeOf } from "@blixard/common";
import type { CardState } from "@blixard/protocol";
import { findProgram, launchCommand } from "../confinement/launcher.ts";
import type { BridgePortConfig } from "./switch-messages.ts";

const execFileAsync = promisify(execFile);
const trialTimeoutMs = 5_000;
/** IFF_UP of linux/if.h. */
const upFlag = 1;

/** Plugs a tap in the bridge for a moment. Undefined when that works, else why it does not. */
export async function tryBridge(bridge: string): Promise<string | undefined> {
  const tap = { descriptor: 3, name: `bxt${process.pid}`, bridge, mac: "fe:ff:ff:ff:ff:ff" };
  try {
    const launch = launchCommand({ program: findProgram("true") ?? "true", arguments: [], taps: [tap] });
    await execFileAsync(launch.program, [...launch.arguments], { timeout: trialTimeoutMs, killSignal: "SIGKILL" });
    return undefined;
  } catch (error) {
    const said = typeof error === "object" && error !== null && "stderr" in error ? String(error.stderr).trim() : "";
    return said === "" ? messageOf(error) : said;
  }
}

/** Where the kernel shows its network interfaces. */
const interfacesPath = "/sys/class/net";

export class BridgePorts {
  readonly #ports = new Map<string, readonly BridgePortConfig[]>();

  get isEmpty(): boolean {
    return this.#ports.size === 0;
  }

  /** A running VM has these; none when it does not run any more. True when they are others than before. */
  want(vmId: string, ports: readonly BridgePortConfig[]): boolean {
    if (isDeepStrictEqual(this.#ports.get(vmId) ?? [], ports)) return false;
    if (ports.length === 0) this.#ports.delete(vmId);
    else this.#ports.set(vmId, ports);
    return true;
  }

  /** Takes each tap up or down as it is wanted, and resolves with what is wrong, by the id of the VM. */
  look(): Map<string, string> {
    const problems = new Map<string, string>();
    for (const [vmId, ports] of this.#ports) {
      for (const port of ports) {
        const problem = problemOf(port);
        if (problem !== undefined) problems.set(vmId, problem);
      }
    }
    return problems;
  }

  /** The cards of a VM. */
  statesOf(vmId: string): CardState[] {
    const wanted = (this.#ports.get(vmId) ?? []).filter(({ isWanted }) => isWanted);
    return wanted.map(({ network, mac, bridge, tap }) => ({ network, mac, bridge, tap, lanes: [] }));
  }
}

function problemOf({ network, bridge, tap, isWanted }: BridgePortConfig): string | undefined {
  try {
    const flagsPath = `${interfacesPath}/${tap}/flags`;
    const flags = Number.parseInt(readFileSync(flagsPath, "utf8"), 16);
    const wanted = isWanted ? flags | upFlag : flags & ~upFlag;
    if (wanted !== flags) writeFileSync(flagsPath, `0x${wanted.toString(16)}`);
    if (!isWanted || bridgeOf(tap) === bridge) return undefined;
    return `the card in the network ${network} is cut off: its tap ${tap} is not in the bridge ${bridge} any more`;
  } catch (error) {
    if (!isWanted && systemErrorCodeOf(error) === "ENOENT") return undefined;
    return `the card in the network ${network} cannot be looked at: its tap ${tap}: ${messageOf(error)}`;
  }
}

function bridgeOf(tap: string): string | undefined {
  try {
    return basename(readlinkSync(`${interfacesPath}/${tap}/master`));
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
