/**
 * The watchdog of a node: a process of its own that starts the VMs which may run only while the node has a lease, and kills them
 * when that is over, whatever the node does. They are its children, and the kernel ends them with it.
 *
 * Arguments: `--blixard-watchdog SOCKET`, the file for what it has killed, the end of the present lease.
 */
import { appendFileSync, rmSync, statSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { messageOf } from "@blixard/common";
import { findProgram } from "../confinement/launcher.ts";
import { answerQuestions } from "../process/helper-process.ts";
import { isAlive, type ProcessIdentity, signalProcess } from "../process/process-identity.ts";
import { spawnInstance } from "../process/spawn-instance.ts";
import { startBeatGuard } from "./beat-guard.ts";
import { bootTimeMs } from "./boot-time.ts";
import { Watchdog } from "./watchdog.ts";
import {
  type SpawnRequest,
  type WatchdogAnswers,
  type WatchdogNote,
  type WatchdogQuestion,
  watchdogArgument,
} from "./watchdog-messages.ts";

const lookMs = 100;
const beatMs = 250;
/** Without a node and without a VM it ends after so long. */
const idleMs = 2_000;

class WatchdogProcess {
  readonly #watchdog: Watchdog;
  readonly #socketPath: string;
  readonly #connections = new Set<Socket>();
  readonly #server = createServer((socket) => this.#serve(socket));
  #spawning = 0;
  #guarded: { readonly end: () => void } | undefined;
  #busyAtMs = performance.now();

  constructor(socketPath: string, journalPath: string, untilMs: number) {
    this.#socketPath = socketPath;
    this.#watchdog = new Watchdog(
      {
        nowMs: bootTimeMs,
        isAlive,
        kill: (held) => void signalProcess(held, "SIGKILL"),
        note: ({ vmId, pid, startTime }, nowMs, leaseUntilMs) => {
          const note: WatchdogNote = { vmId, pid, startTime, unixMs: Date.now(), untilMs: leaseUntilMs, nowMs };
          writeNote(journalPath, note);
        },
      },
      untilMs,
    );
  }

  /** Ends by itself when it has been idle for a while; a socket that cannot be served ends it at once. */
  run(): void {
    rmSync(this.#socketPath, { force: true });
    this.#server.listen(this.#socketPath);
    this.#guard();
    const looking = setInterval(() => {
      this.#watchdog.look();
      if (this.#connections.size > 0 || this.#watchdog.count > 0 || this.#spawning > 0) {
        this.#busyAtMs = performance.now();
      } else if (performance.now() - this.#busyAtMs > idleMs) {
        clearInterval(looking);
        this.#server.close();
        this.#guarded?.end();
      }
    }, lookMs);
  }

  /** Somebody has to look whether this process goes on; when that one ends, another takes its place. */
  #guard(): void {
    const child = startBeatGuard();
    const beat = () => child?.stdin?.write(`${Math.round(this.#watchdog.untilMs)}\n`);
    beat();
    const beats = setInterval(beat, beatMs);
    let ended = false;
    this.#guarded = {
      end: () => {
        ended = true;
        clearInterval(beats);
        child?.stdin?.end();
      },
    };
    child?.on("exit", () => {
      clearInterval(beats);
      if (!ended) setTimeout(() => this.#guard(), lookMs);
    });
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket);
    socket.on("close", () => this.#connections.delete(socket));
    answerQuestions<WatchdogQuestion>(socket, (question) => this.#do(question));
  }

  async #do(question: WatchdogQuestion): Promise<WatchdogAnswers[WatchdogQuestion["type"]]> {
    const watchdog = this.#watchdog;
    switch (question.type) {
      case "hello":
        return { untilMs: watchdog.untilMs };
      case "lease":
        if (!Number.isFinite(question.untilMs)) throw new Error("the end of a lease is a number");
        watchdog.untilMs = question.untilMs;
        return { untilMs: watchdog.untilMs };
      case "spawn":
        return await this.#spawn(question);
      default:
        return question satisfies never;
    }
  }

  async #spawn({ vmId, command, paths, confinement, agent = false }: SpawnRequest): Promise<ProcessIdentity> {
    if (this.#watchdog.isOver) throw new Error("this node has no lease");
    const setpriv = findProgram("setpriv");
    if (setpriv === undefined) throw new Error("setpriv is not installed");
    this.#spawning++;
    try {
      const place = { paths, agent, confinement: { ...confinement, diesWith: { pid: process.pid, setpriv } } };
      const identity = await spawnInstance(command, place);
      this.#watchdog.hold({ vmId, ...identity });
      return identity;
    } finally {
      this.#spawning--;
    }
  }
}

/** The file begins anew when it is that long. */
const notesBytesMax = 256 * 1024;

/** A disk that is full keeps nobody alive. */
function writeNote(path: string, note: WatchdogNote): void {
  try {
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > notesBytesMax) rmSync(path);
    appendFileSync(path, `${JSON.stringify(note)}\n`, { mode: 0o600 });
  } catch (error) {
    process.stderr.write(`not written down: ${messageOf(error)}\n`);
  }
}

const at = process.argv.indexOf(watchdogArgument);
const [socketPath, journalPath, untilMs] = process.argv.slice(at + 1);
if (at < 0 || socketPath === undefined || journalPath === undefined || untilMs === undefined) {
  throw new Error(`usage: watchdog-main ${watchdogArgument} SOCKET FILE UNTIL`);
}
new WatchdogProcess(socketPath, journalPath, Number(untilMs)).run();
