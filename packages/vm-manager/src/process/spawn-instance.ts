/** Starts a program that outlives this process, and gives back its identity. */
import { type StdioOptions, spawn } from "node:child_process";
import { open, readFile, writeFile } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { assert, BlixardError, type Clock, messageOf, withDeadline } from "@blixard/common";
import { launchCommand } from "../confinement/launcher.ts";
import type { Command, InstanceHandle, InstancePaths, InstanceSpec, VmInstance } from "../driver.ts";
import {
  bindInstanceSocket,
  bindInstanceSockets,
  controlDescriptor,
  firstNicDescriptor,
  serialDescriptor,
} from "./instance-socket.ts";
import { identifyProcess, type ProcessIdentity, signalProcess } from "./process-identity.ts";
import { type QmpAbilities, QmpInstance } from "./qmp-instance.ts";

const stderrBytesShown = 600;

/**
 * Runs `command` detached: in a session of its own, with files instead of pipes, so that neither the end of this
 * process nor a signal to its group reaches it. It works in the directory of its instance, and has the descriptors of
 * its sockets and no others.
 */
export async function spawnInstance(
  command: Command,
  { paths, confinement, agent = false }: Pick<InstanceSpec, "paths" | "confinement" | "agent">,
): Promise<ProcessIdentity> {
  assert(isAbsolute(paths.directory), "the paths of an instance are absolute");
  await using control = await bindInstanceSocket(paths.controlSocket);
  await using serial = await bindInstanceSocket(paths.serialSocket);
  const behindSerial = [...paths.networkSockets, ...(agent ? [paths.agentSocket] : [])];
  await using network = await bindInstanceSockets(behindSerial);
  await using errors = await open(paths.stderrLog, "w", 0o600);
  try {
    const launch = launchCommand(command, confinement, serialDescriptor + behindSerial.length);
    const streams: (number | "ignore")[] = ["ignore", errors.fd, errors.fd];
    streams[controlDescriptor] = control.descriptor;
    streams[serialDescriptor] = serial.descriptor;
    for (const [index, descriptor] of network.descriptors.entries()) streams[firstNicDescriptor + index] = descriptor;
    const identity = await spawnDetached(launch, paths, streams);
    await writeFile(paths.pidFile, `${identity.pid}\n`, { mode: 0o600 });
    return identity;
  } catch (error) {
    throw new BlixardError("VM_DRIVER_FAILED", `cannot start ${command.program}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function spawnDetached(
  { program, arguments: programArguments }: Command,
  { directory, stderrLog }: Pick<InstancePaths, "directory" | "stderrLog">,
  stdio: StdioOptions,
): Promise<ProcessIdentity> {
  const child = spawn(program, programArguments, {
    cwd: directory,
    detached: true,
    stdio,
    env: { PATH: process.env["PATH"] },
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  child.on("error", () => {});
  child.unref();
  const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
  if (identity === undefined) throw new BlixardError("VM_DRIVER_FAILED", await stderrMessage(stderrLog));
  return identity;
}

/** Waits until a fresh instance answers. When it does not, its process is killed before this rejects. */
export async function awaitStarted(
  clock: Clock,
  handle: InstanceHandle,
  paths: InstancePaths,
  options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
  abilities: QmpAbilities = {},
): Promise<VmInstance> {
  const instance = new QmpInstance({ clock, handle, paths, ...abilities });
  try {
    const state = await withDeadline(
      {
        clock,
        timeoutMs: options.deadlineMs,
        what: "starting the VM's process",
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      (signal) => instance.state.until(({ type }) => type !== "unknown" && type !== "not-responding", { signal }),
    );
    if (state.type !== "ended") return instance;
    throw new BlixardError(
      "VM_DRIVER_FAILED",
      `the VM's process ended at once: ${await stderrMessage(paths.stderrLog)}`,
    );
  } catch (error) {
    signalProcess(handle, "SIGKILL");
    await instance.state.until((value) => value.type === "ended");
    await instance.detach();
    throw error;
  }
}

async function stderrMessage(path: string): Promise<string> {
  const text = (await readFile(path, "utf8").catch(() => "")).trim();
  return text === "" ? "it wrote no error" : text.slice(-stderrBytesShown);
}
