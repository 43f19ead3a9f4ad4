/**
 * The worker thread of the route over Iroh. It has an endpoint of its own, so that the thread that Raft runs on does not pay
 * for moving bytes through the binding of Iroh. It decides nothing: the main thread says who may connect and what is answered.
 *
 * It ends by itself once its endpoint is closed. It must never be terminated: that aborts the process while operations
 * of the binding are under way.
 */
import { parentPort, workerData } from "node:worker_threads";
import { assert, errorCodeOf, messageOf, withTimeLimit } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { ByteStream, Connection } from "@blixard/transport";
import { createIrohAdapter, type IrohAdapter } from "@blixard/transport/iroh";
import { bulkLimits } from "../bulk-limits.ts";
import { lost } from "../bulk-status.ts";
import { askOn, readRequest, writeAnswer } from "./bulk-stream.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./worker-messages.ts";

type Post = (message: FromWorker, moved?: readonly ArrayBuffer[]) => void;
type Answer = Pick<Extract<ToWorker, { readonly type: "answer" }>, "status" | "body">;

class IrohWorker {
  readonly #adapter: IrohAdapter;
  readonly #post: Post;
  readonly #end: () => void;
  readonly #connections = new Map<number, Connection>();
  readonly #asks = new Map<number, (answer: Answer) => void>();
  #numbers = 0;

  constructor(settings: WorkerSettings, post: Post, end: () => void) {
    this.#adapter = createIrohAdapter({ ...settings, lanes: ["blixard/bulk/1"] });
    this.#post = post;
    this.#end = end;
  }

  async start(): Promise<void> {
    try {
      await this.#adapter.listen((connection) => {
        const number = this.#keep(connection);
        this.#post({ type: "arrived", connection: number, endpointId: connection.remoteEndpointId });
      });
      if (this.#adapter.usesRelay) await this.#waitForRelay();
      this.#post({ type: "bound", addresses: this.#adapter.addresses() });
    } catch (error) {
      this.#post({ type: "broken", message: messageOf(error) });
      await this.#close();
    }
  }

  take(message: ToWorker): void {
    switch (message.type) {
      case "dial":
        this.#settle(message.call, this.#dial(message));
        break;
      case "request":
        this.#settle(message.call, this.#request(message));
        break;
      case "serve":
        void this.#serve(message.connection);
        break;
      case "drop":
        this.#connections.get(message.connection)?.close("not a member");
        break;
      case "answer":
        this.#asks.get(message.ask)?.(message);
        break;
      case "close":
        void this.#close();
        break;
      default:
        message satisfies never;
    }
  }

  #settle(call: number, work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#post({ type: "failed", call, code: errorCodeOf(error) ?? "UNREACHABLE", message: messageOf(error) });
    });
  }

  async #dial({ call, to }: Extract<ToWorker, { readonly type: "dial" }>): Promise<void> {
    const connection = await withTimeLimit(systemClock, bulkLimits.dialTimeoutMs, undefined, (signal) =>
      this.#adapter.connect(to, "blixard/bulk/1", { signal }),
    );
    this.#post({ type: "dialled", call, connection: this.#keep(connection) });
  }

  async #request(message: Extract<ToWorker, { readonly type: "request" }>): Promise<void> {
    const connection = this.#connections.get(message.connection);
    if (connection === undefined) throw lost();
    const body = await askOn(connection, message);
    this.#post({ type: "answered", call: message.call, body }, [body.buffer as ArrayBuffer]);
  }

  async #serve(number: number): Promise<void> {
    const connection = this.#connections.get(number);
    for (let stream = await connection?.acceptStream(); stream; stream = await connection?.acceptStream()) {
      // A connection that ends meanwhile needs no answer: the other side knows.
      if (connection !== undefined) void this.#answer(number, connection, stream).catch(() => {});
    }
  }

  async #answer(number: number, connection: Connection, stream: ByteStream): Promise<void> {
    const path = await readRequest(connection, stream);
    const ask = ++this.#numbers;
    const answer = new Promise<Answer>((resolve) => this.#asks.set(ask, resolve));
    this.#post({ type: "ask", ask, connection: number, path });
    try {
      await writeAnswer(connection, stream, await answer);
    } finally {
      this.#asks.delete(ask);
      this.#post({ type: "delivered", ask });
    }
  }

  #keep(connection: Connection): number {
    const number = ++this.#numbers;
    this.#connections.set(number, connection);
    void connection.closed.then(() => {
      this.#connections.delete(number);
      this.#post({ type: "ended", connection: number });
    });
    return number;
  }

  async #waitForRelay(): Promise<void> {
    // Far from every relay, the direct addresses are what there is.
    const online = withTimeLimit(systemClock, bulkLimits.relayWaitMs, undefined, (signal) =>
      this.#adapter.online(signal),
    );
    await online.catch(() => {});
  }

  async #close(): Promise<void> {
    await this.#adapter.close();
    this.#end();
  }
}

const port = parentPort;
assert(port !== null, "this file runs as a worker thread");
const settings = workerData as WorkerSettings;
const worker = new IrohWorker(
  settings,
  (message, moved = []) => port.postMessage(message, moved),
  () => port.close(),
);
port.on("message", (message: ToWorker) => worker.take(message));
process.once("exit", () => {
  const ended = new Int32Array(settings.ended);
  Atomics.store(ended, 0, 1);
  Atomics.notify(ended, 0);
});
void worker.start();
