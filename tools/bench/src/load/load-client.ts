/** One client of a closed loop, on a bare socket that is kept. */
import { connect, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { type Dialect, type Endpoint, getRequest, isSuccess, parseAnswer, putRequest } from "./dialect.ts";
import { fillWrites, isWrite, keyOf, type LoadPlan, valueTextOf } from "./load-plan.ts";

export interface LoadOrder {
  readonly dialect: Dialect;
  /** Client n loads endpoint n modulo their number. */
  readonly endpoints: readonly Endpoint[];
  readonly plan: LoadPlan;
  readonly durationMs: number;
}

const connectTimeoutMs = 10_000;

/** One connection with at most one request on it. It ends at its first failure: that voids the round anyway. */
export class LoadClient {
  readonly latenciesMs: number[] = [];
  readonly #order: LoadOrder;
  readonly #at: number;
  readonly #to: Endpoint;
  #socket: Socket | undefined;
  #received = "";
  #answered: ((isRight: boolean) => void) | undefined;
  #isGet = false;
  /** Acknowledged. */
  writes = 0;
  filled = 0;
  operations = 0;
  failure: string | undefined;
  isUncertain = false;

  constructor(order: LoadOrder, at: number) {
    const to = order.endpoints[at % order.endpoints.length];
    if (to === undefined) throw new Error("no endpoint to load");
    this.#order = order;
    this.#at = at;
    this.#to = to;
  }

  async fill(): Promise<void> {
    await this.#connect();
    const count = fillWrites(this.#order.plan);
    while (this.writes < count && this.failure === undefined) await this.#write();
    this.filled = this.writes;
  }

  /** Sends one request after the other until the end; latencies count from `countFromMs` on. */
  async loop(countFromMs: number, endMs: number): Promise<void> {
    const { kind, keysPerClient } = this.#order.plan;
    for (let at = 0; this.failure === undefined; at++) {
      const sentMs = performance.now();
      if (sentMs > endMs) return;
      const isRight = isWrite(kind, at) ? await this.#write() : await this.#read(at % keysPerClient);
      if (!isRight) return;
      this.operations++;
      if (sentMs >= countFromMs) this.latenciesMs.push(performance.now() - sentMs);
    }
  }

  fail(why: string): void {
    this.failure ??= why;
    this.#settle(false);
    this.#socket?.destroy();
  }

  close(): void {
    this.#socket?.destroy();
  }

  async #write(): Promise<boolean> {
    const { dialect, plan } = this.#order;
    const [key, value] = [keyOf(plan, this.#at, this.writes), valueTextOf(plan, this.#at, this.writes)];
    const isRight = await this.#call(putRequest(dialect, this.#to, key, value), false);
    if (isRight) this.writes++;
    else this.isUncertain = true;
    return isRight;
  }

  async #read(write: number): Promise<boolean> {
    const { dialect, plan } = this.#order;
    return await this.#call(getRequest(dialect, this.#to, keyOf(plan, this.#at, write)), true);
  }

  #call(request: string, isGet: boolean): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.failure !== undefined) return resolve(false);
      this.#isGet = isGet;
      this.#answered = resolve;
      this.#socket?.write(request);
    });
  }

  #connect(): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect(this.#to.port, this.#to.host);
      this.#socket = socket;
      socket.setNoDelay(true);
      socket.setEncoding("latin1");
      const timer = setTimeout(() => socket.destroy(new Error("no connection in time")), connectTimeoutMs);
      socket.once("connect", () => {
        clearTimeout(timer);
        resolve();
      });
      socket.on("error", (error) => this.fail(error.message));
      socket.on("close", () => {
        clearTimeout(timer);
        // After the end of the loop nobody waits for an answer, and a connection that closes is no failure.
        if (this.#answered !== undefined) this.fail("the connection was closed");
        resolve();
      });
      socket.on("data", (data) => this.#receive(String(data)));
    });
  }

  #receive(data: string): void {
    this.#received += data;
    const answer = parseAnswer(this.#received);
    if (answer === undefined) return;
    this.#received = "";
    if (isSuccess(answer, this.#isGet)) this.#settle(true);
    else this.fail(`${answer.status} ${answer.body.slice(0, 200).trim()}`);
  }

  #settle(isRight: boolean): void {
    const answered = this.#answered;
    this.#answered = undefined;
    answered?.(isRight);
  }
}
