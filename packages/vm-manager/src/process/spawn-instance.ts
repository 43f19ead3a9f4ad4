/** Starts a program that outlives this process, and gives back its identity. */
import { spawn } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { assert, BlixardError, type Clock, messageOf, withDeadline } from "@blixard/common";
import type { InstanceHandle, InstancePaths, VmInstance } from "../driver.ts";
import { findProcessesByArgument, identifyProcess, type ProcessIdentity, signalProcess } from "./process-identity.ts";
import { QmpInstance } from "./qmp-instance.ts";

const stderrBytesShown = 600;

/**
 * Runs `program` detached: in a session of its own, with files instead of pipes, so that neither the end of this
 * process nor a signal to its group reaches it. It works in the directory of its instance, where a relative path would
 * name another file than here.
 */
export async function spawnDetached(
  program: string,
  programArguments: readonly string[],
  paths: Pick<InstancePaths, "directory" | "stderrLog">,
  environment: NodeJS.ProcessEnv,
): Promise<ProcessIdentity> {
  assert(isAbsolute(paths.directory), "the paths of an instance are absolute");
  const errors = await open(paths.stderrLog, "w", 0o600);
  try {
    const child = spawn(program, programArguments, {
      cwd: paths.directory,
      detached: true,
      stdio: ["ignore", errors.fd, errors.fd],
      env: environment,
    });
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    child.on("error", () => {});
    child.unref();
    const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
    if (identity === undefined) throw new BlixardError("VM_DRIVER_FAILED", await stderrMessage(paths.stderrLog));
    return identity;
  } catch (error) {
    throw new BlixardError("VM_DRIVER_FAILED", `cannot start ${program}: ${messageOf(error)}`, { cause: error });
  } finally {
    await errors.close();
  }
}

/** Waits until a fresh instance answers. When it does not, its process is killed before this rejects. */
export async function awaitStarted(
  clock: Clock,
  handle: InstanceHandle,
  paths: InstancePaths,
  options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
): Promise<VmInstance> {
  const instance = new QmpInstance({ clock, handle, paths });
  try {
    const state = await withDeadline(
      {
        clock,
        timeoutMs: options.deadlineMs,
        what: "starting the VM's process",
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      (signal) => instance.state.until((value) => value.type !== "unknown", { signal }),
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

/** The process of an instance whose handle was never written: found by its pid file argument. */
export async function findInstanceProcess(paths: InstancePaths): Promise<ProcessIdentity | undefined> {
  const found = await findProcessesByArgument(paths.pidFile);
  return found[0];
}

async function stderrMessage(path: string): Promise<string> {
  const text = (await readFile(path, "utf8").catch(() => "")).trim();
  return text === "" ? "it wrote no error" : text.slice(-stderrBytesShown);
}
