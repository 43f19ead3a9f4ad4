/**
 * One worker thread with its Iroh endpoint, as the main thread sees it. Its states are starting -> bound -> closing -> ended;
 * a worker that breaks is ended at once, and every call that waits for it fails.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SHARE_ENV, Worker } from "node:worker_threads";
import {
  abortReason,
  BlixardError,
  type Clock,
  type ErrorCode,
  type Logger,
  messageOf,
  offAbort,
  onAbort,
} from "@blixard/common";
import { endpointIdOfSeed } from "@blixard/identity";

import type { EndpointAddress } from "@blixard/transport";
import { bulkLimits } from "../bulk-limits.ts";
import type { BulkRequestOptions } from "../bulk-types.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./worker-messages.ts";

export interface WorkerEvents {
  readonly onArrived: (connection: number, endpointId: string) => void;
  readonly onEnded: (connection: number) => void;
  /** Resolves with what is sent back; the worker says when it has left. */
  readonly onAsk: (ask: number, connection: number, path: string) => void;
  readonly onDelivered: (ask: number) => void;
}

export interface WorkerEndpointDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: Omit<WorkerSettings, "ended">;
  readonly events: WorkerEvents;
}

interface Call {
  readonly resolve: (answer: Extract<FromWorker, { readonly type: "dialled" | "answered" }>) => void;
  readonly reject: (error: Error) => void;
}

/** A message without the number that the call gets. */
type Unnumbered<Message> = Message extends unknown ? Omit<Message, "call"> : never;

export class WorkerEndpoint {
  readonly endpointId: string;
  /** Where it can be reached; rejects when it cannot be bound. */
  readonly bound: Promise<EndpointAddress>;
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>;
  readonly #deps: WorkerEndpointDeps;
  readonly #worker: Worker;
  readonly #calls = new Map<number, Call>();
  readonly #connections = new Set<number>();
  readonly #endedWord = new SharedArrayBuffer(4);
  readonly #onProcessExit = () => this.#endBeforeTheProcess();
  #lastCall = 0;
  #state: "running" | "closing" | "ended" = "running";

  constructor(deps: WorkerEndpointDeps) {
    this.#deps = deps;
    this.endpointId = endpointIdOfSeed(deps.settings.secretKey);
    // The real environment, because a setting of the Iroh binding is read from there.
    const workerData: WorkerSettings = { ...deps.settings, ended: this.#endedWord };
    this.#worker = new Worker(workerFile(), { workerData, env: SHARE_ENV, name: "bulk over Iroh" });
    process.once("exit", this.#onProcessExit);
    this.bound = new Promise((resolve, reject) => {
      this.#worker.on("message", (message: FromWorker) => {
        const { endpointId } = this;
        if (message.type === "bound") resolve({ endpointId, addresses: message.addresses });
        else if (message.type === "broken") reject(unusable(message.message));
        else this.#take(message);
      });
      this.#worker.once("exit", () => reject(unusable("it has ended")));
    });
    this.bound.catch(() => {});
    this.ended = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#end();
        resolve();
      });
    });
    this.#worker.on("error", (error) => {
      deps.logger.log("warn", "the worker for bulk data over Iroh failed", { reason: messageOf(error) });
    });
  }

  get running(): boolean {
    return this.#state === "running";
  }

  /** Calls that wait for an answer. */
  get waiting(): number {
    return this.#calls.size;
  }

  isOpen(connection: number): boolean {
    return this.running && this.#connections.has(connection);
  }

  /** @throws UNREACHABLE, UNKNOWN_PEER, UNSUPPORTED_VERSION, and the reason of the signal */
  async dial(to: EndpointAddress, signal: AbortSignal): Promise<number> {
    const answer = await this.#call({ type: "dial", to }, signal);
    if (answer.type !== "dialled") throw unusable("it answered something else");
    return answer.connection;
  }

  /** @throws what the source refused, UNREACHABLE, DEADLINE_EXCEEDED, FRAME_TOO_LARGE, and the reason of the signal */
  async request(connection: number, path: string, options: BulkRequestOptions): Promise<Uint8Array> {
    const { bytesMax, stallMs, signal } = options;
    const answer = await this.#call({ type: "request", connection, path, bytesMax, stallMs }, signal);
    if (answer.type !== "answered") throw unusable("it answered something else");
    return answer.body;
  }

  serve(connection: number): void {
    this.#connections.add(connection);
    this.#post({ type: "serve", connection });
  }

  drop(connection: number): void {
    this.#post({ type: "drop", connection });
  }

  answer(ask: number, status: number, bytes: Uint8Array): void {
    // A copy, because it is moved to the worker, and the memory is somebody else's. `slice` of a Buffer would make none.
    const body = new Uint8Array(bytes);
    this.#post({ type: "answer", ask, status, body }, [body.buffer as ArrayBuffer]);
  }

  /** Lets the worker close its endpoint and end; waits for that, but not for ever. */
  async close(): Promise<void> {
    if (this.#state === "running") {
      this.#post({ type: "close" });
      this.#state = "closing";
      this.#failCalls(new BlixardError("STOPPED", "the worker for bulk data closes"));
    }
    let late = false;
    const { clock, logger } = this.#deps;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(bulkLimits.workerEndMs, () => {
        late = true;
        resolve();
      });
      void this.ended.then(() => {
        timer.cancel();
        resolve();
      });
    });
    if (!late) return;
    // Never terminated: that would abort the process. It keeps nothing alive.
    this.#worker.unref();
    logger.log("warn", "the worker for bulk data over Iroh does not end", { waitedMs: bulkLimits.workerEndMs });
  }

  #call(message: Unnumbered<Extract<ToWorker, { readonly call: number }>>, signal: AbortSignal) {
    return new Promise<Parameters<Call["resolve"]>[0]>((resolve, reject) => {
      if (signal.aborted) return reject(abortReason(signal));
      if (!this.running) return reject(unusable("it has ended"));
      const call = ++this.#lastCall;
      // What comes for a call that was given up is dropped.
      const abort = () => settle(() => reject(abortReason(signal)));
      const settle = (then: () => void) => {
        this.#calls.delete(call);
        offAbort(signal, abort);
        then();
      };
      onAbort(signal, abort);
      this.#calls.set(call, {
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (error) => settle(() => reject(error)),
      });
      this.#post({ ...message, call } as ToWorker);
    });
  }

  #take(message: Exclude<FromWorker, { readonly type: "bound" | "broken" }>): void {
    const { events } = this.#deps;
    switch (message.type) {
      case "arrived":
        events.onArrived(message.connection, message.endpointId);
        break;
      case "ended":
        this.#connections.delete(message.connection);
        events.onEnded(message.connection);
        break;
      case "ask":
        events.onAsk(message.ask, message.connection, message.path);
        break;
      case "delivered":
        events.onDelivered(message.ask);
        break;
      case "dialled":
        this.#connections.add(message.connection);
        this.#calls.get(message.call)?.resolve(message);
        break;
      case "answered":
        this.#calls.get(message.call)?.resolve(message);
        break;
      case "failed":
        this.#calls.get(message.call)?.reject(new BlixardError(message.code as ErrorCode, message.message));
        break;
      default:
        message satisfies never;
    }
  }

  #post(message: ToWorker, moved: readonly ArrayBuffer[] = []): void {
    if (this.running) this.#worker.postMessage(message, moved);
  }

  /** A process that ends at once would terminate the worker, and so abort: it waits, without its event loop. */
  #endBeforeTheProcess(): void {
    this.#post({ type: "close" });
    Atomics.wait(new Int32Array(this.#endedWord), 0, 0, bulkLimits.workerEndOnExitMs);
  }

  #end(): void {
    process.off("exit", this.#onProcessExit);
    this.#state = "ended";
    this.#failCalls(unusable("it has ended"));
    for (const connection of this.#connections) this.#deps.events.onEnded(connection);
    this.#connections.clear();
  }

  #failCalls(error: Error): void {
    for (const { reject } of [...this.#calls.values()]) reject(error);
  }
}

function unusable(why: string): BlixardError {
  return new BlixardError("UNREACHABLE", `the worker for bulk data over Iroh: ${why}`);
}

/** A worker runs plain JavaScript: when this module runs from its source, the build stands beside it. */
function workerFile(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  for (const path of [join(here, "iroh-worker.js"), join(here, "../../dist/iroh/iroh-worker.js")]) {
    if (existsSync(path)) return path;
  }
  throw new BlixardError("UNSUPPORTED", "the worker for bulk data over Iroh is not built");
}
