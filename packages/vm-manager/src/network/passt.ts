/**
 * passt stands between a guest and the network of this machine: it takes the frames of the guest and speaks with the world through
 * sockets, so that no network device and no right of an administrator is needed. It runs behind the walls of its VM, in namespaces
 * that it makes for itself, and ends when the other end of its descriptor closes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { formatIpv4, messageOf } from "@blixard/common";
import { launchCommand } from "../confinement/launcher.ts";
import type { Confinement } from "../driver.ts";
import { gatewayMac } from "./gateway-mac.ts";
import { type PortForward, type UserAddresses, userPrefixLength } from "./user-addresses.ts";

export const passtProgram = "passt";
const frameDescriptor = 3;
const errorBytesShown = 300;
/** A host without a system log makes passt say so for each line that it logs. */
const noise = /^Failed to send \d+ bytes to syslog$/;

export const passtInstallHint = "install passt: apt-get install -y passt";

export interface RunningPasst {
  readonly child: ChildProcess;
  /** Carries frames, each with its length in front, both ways. */
  readonly frames: Duplex;
  /** Resolves when it has ended, with what it said last. */
  readonly ended: Promise<string>;
}

function passtArguments({ guest, gateway, resolver }: UserAddresses, forwards: readonly PortForward[]): string[] {
  return [
    ...["--foreground", "--quiet", "--stderr", "--fd", `${frameDescriptor}`],
    // Nothing is taken from the network that the machine happens to have when the VM starts.
    ...["--ipv4-only", "--interface", "lo", "--mac-addr", gatewayMac],
    ...["--address", formatIpv4(guest), "--netmask", `${userPrefixLength}`, "--gateway", formatIpv4(gateway)],
    ...["--no-map-gw", "--no-dhcp", "--dns-forward", formatIpv4(resolver)],
    // Without that, UDP ports follow the TCP ports. Those that are forwarded are those of the relay.
    ...["--udp-ports", "none"],
    ...(forwards.length === 0 ? ["--tcp-ports", "none"] : forwards.flatMap((each) => ["--tcp-ports", portOf(each)])),
  ];
}

function portOf({ listen, port, to }: PortForward): string {
  return `${listen}/${port}:${to}`;
}

/** Starts it; that it cannot be started is one of the ways to end. */
export function startPasst(
  addresses: UserAddresses,
  forwards: readonly PortForward[],
  confinement: Confinement,
): RunningPasst {
  const command = { program: passtProgram, arguments: passtArguments(addresses, forwards) };
  const launch = launchCommand(command, confinement, frameDescriptor);
  const child = spawn(launch.program, [...launch.arguments], {
    cwd: "/",
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] },
  });
  let said = "";
  child.stderr?.on("data", (data: Buffer) => {
    said = (said + data.toString()).slice(-errorBytesShown);
  });
  const frames = child.stdio[frameDescriptor] as Duplex;
  frames.on("error", () => {});
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(messageOf(error)));
    child.once("close", (code, signal) => resolve(lastLine(said) ?? `passt ended with ${code ?? signal}`));
  });
  return { child, frames, ended };
}

function lastLine(text: string): string | undefined {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "" && !noise.test(line))
    .at(-1);
}
