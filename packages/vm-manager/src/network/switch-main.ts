/**
 * The switch of a node: a process of its own that carries the frames of the network cards of its VMs, whatever the node does, so
 * that guests keep their connections while the node is started anew. It ends when no VM and no node needs it.
 *
 * Arguments: `--blixard-switch SOCKET`.
 */
import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { answerQuestions } from "../process/helper-process.ts";
import { HostAddresses } from "./host-addresses.ts";
import type { PortConfig, PortStatus, SwitchAnswers, SwitchQuestion } from "./switch-messages.ts";
import { switchKind } from "./switch-messages.ts";
import { SwitchPort } from "./switch-port.ts";

const lookMs = 200;
/** Without a node and without a VM it ends after so long. */
const idleMs = 2_000;

class SwitchProcess {
  readonly #socketPath: string;
  readonly #hostAddresses = new HostAddresses(() => performance.now());
  readonly #ports = new Map<string, readonly SwitchPort[]>();
  readonly #connections = new Set<Socket>();
  readonly #server = createServer((socket) => this.#serve(socket));
  #busyAtMs = performance.now();

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  run(): void {
    rmSync(this.#socketPath, { force: true });
    this.#server.listen(this.#socketPath);
    const looking = setInterval(() => {
      for (const [vmId, ports] of this.#ports) {
        for (const port of ports) port.look();
        if (ports.every(({ isClosed }) => isClosed)) this.#ports.delete(vmId);
      }
      if (this.#connections.size > 0 || this.#ports.size > 0) {
        this.#busyAtMs = performance.now();
      } else if (performance.now() - this.#busyAtMs > idleMs) {
        clearInterval(looking);
        this.#server.close();
      }
    }, lookMs);
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket);
    socket.on("close", () => this.#connections.delete(socket));
    answerQuestions<SwitchQuestion>(socket, (question) => this.#answer(question));
  }

  #answer(question: SwitchQuestion): SwitchAnswers[SwitchQuestion["type"]] {
    switch (question.type) {
      case "status":
        return { ports: [...this.#ports].flatMap(([vmId, ports]) => ports.map((port) => statusOf(vmId, port))) };
      case "set":
        this.#set(question.vmId, question.ports);
        return {};
      default:
        return question satisfies never;
    }
  }

  /** A port that is as it is wanted goes on; any other is closed, and its connections with it. */
  #set(vmId: string, wanted: readonly PortConfig[]): void {
    const present = (this.#ports.get(vmId) ?? []).filter(({ isClosed }) => !isClosed);
    const kept = (config: PortConfig) => present.find((port) => isDeepStrictEqual(port.config, config));
    const keep = new Set(wanted.map(kept));
    for (const port of present) if (!keep.has(port)) port.close();
    const deps = {
      isHostAddress: (address: number) => this.#hostAddresses.has(address),
      nowMs: () => performance.now(),
    };
    const ports = wanted.map((config) => kept(config) ?? new SwitchPort(config, deps));
    if (ports.length === 0) this.#ports.delete(vmId);
    else this.#ports.set(vmId, ports);
  }
}

function statusOf(vmId: string, { problem }: SwitchPort): PortStatus {
  return problem === undefined ? { vmId } : { vmId, problem };
}

const at = process.argv.indexOf(switchKind.argument);
const socketPath = process.argv[at + 1];
if (at < 0 || socketPath === undefined) throw new Error(`usage: switch-main ${switchKind.argument} SOCKET`);
new SwitchProcess(socketPath).run();
