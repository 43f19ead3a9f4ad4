/** Runs one round of load from a process of its own. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { LoadOrder } from "./load-client.ts";
import type { LoadMessage, LoadRequest, LoadResult } from "./load-process.ts";

const main = fileURLToPath(new URL("../main.js", import.meta.url));
/** Beyond the time of the round: starting, filling, and waiting for late answers. */
const extraMs = 120_000;

export interface LoadHooks {
  /** The load stands ready: what the servers use from here on is due to it. */
  readonly onBegin?: () => Promise<void> | void;
  /** The last answer is there. */
  readonly onEnd?: () => Promise<void> | void;
}

/** @throws when the process ends without a result, or not in time */
export async function runLoad(order: LoadOrder, { onBegin, onEnd }: LoadHooks = {}): Promise<LoadResult> {
  const child = fork(main, ["load-process"], { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: [] });
  const tell = (request: LoadRequest) => child.send(request);
  const timer = setTimeout(() => child.kill("SIGKILL"), order.durationMs + extraMs);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  try {
    return await new Promise<LoadResult>((resolve, reject) => {
      child.once("error", reject);
      const die = (code: number | null, signal: string | null) =>
        reject(new Error(`the load ended without a result: ${signal ?? code}`));
      child.once("exit", die);
      child.on("message", (message: LoadMessage) => {
        if (message.type === "filled") {
          Promise.resolve(onBegin?.()).then(() => tell({ type: "go" }), reject);
        } else {
          // It may end from here on, also while `onEnd` still works.
          child.off("exit", die);
          Promise.resolve(onEnd?.()).then(() => resolve(message.result), reject);
        }
      });
      tell({ type: "order", order });
    });
  } finally {
    if (child.connected) child.disconnect();
    clearTimeout(timer);
    await exited;
  }
}
