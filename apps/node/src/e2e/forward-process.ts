/** `blixard vm forward` as a process of its own, and what a program does with the ports that it opens. */
import { type ChildProcess, spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { Watch } from "@blixard/common";
import { builtBinary } from "./binary.ts";

interface Shown {
  readonly local: string;
}

export class ForwardProcess {
  readonly ports: readonly number[];
  readonly said: Watch<string>;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  private constructor(
    child: ChildProcess,
    ended: Promise<number | null>,
    said: Watch<string>,
    ports: readonly number[],
  ) {
    this.#child = child;
    this.#ended = ended;
    this.said = said;
    this.ports = ports;
  }

  /** Resolves when the ports are open. */
  static async start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ForwardProcess> {
    const child = spawn(process.execPath, [builtBinary(), "vm", "forward", ...args, "-o", "json"], {
      env: { ...process.env, NODE_OPTIONS: "", NO_COLOR: "1", ...env },
    });
    const said = new Watch("");
    const shown = new Watch<readonly Shown[] | undefined>(undefined);
    let text = "";
    child.stderr.on("data", (data) => said.update((before) => `${before}${data}`));
    child.stdout.on("data", (data) => {
      text += String(data);
      if (text.trimEnd().endsWith("]")) shown.set(JSON.parse(text) as readonly Shown[]);
    });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    void ended.then(() => shown.update((now) => now ?? []));
    const ports = (await shown.until((now) => now !== undefined))?.map(({ local }) => Number(local.split(":").at(-1)));
    if (ports === undefined || ports.length === 0) throw new Error(`nothing is forwarded: ${said.value}`);
    return new ForwardProcess(child, ended, said, ports);
  }

  /** Ctrl-C. Resolves with the exit code. */
  interrupt(): Promise<number | null> {
    this.#child.kill("SIGINT");
    return this.#ended;
  }
}

/** Sends all of it, ends its side, and resolves with what came until the other side ended. Rejects when the connection is reset. */
export function exchange(port: number, sent: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    let came = "";
    socket.on("data", (data) => {
      came += data.toString("latin1");
    });
    socket.once("error", reject);
    socket.once("end", () => resolve(came));
    socket.once("close", () => reject(new Error("the connection was closed")));
    socket.end(sent);
  });
}
