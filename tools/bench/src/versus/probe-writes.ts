/** Writes at a steady pace to see for how long none is acknowledged: an open loop, since a closed one waits for the dead. */
import { Agent, request } from "node:http";
import { performance } from "node:perf_hooks";
import type { Endpoint } from "../load/dialect.ts";
import type { Side } from "../sides/side.ts";

const paceMs = 20;
const timeoutMs = 2_000;
const inFlightMax = 100;
const valueText = "v".repeat(100);

export class ProbeWrites {
  readonly #side: Side;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #skipped = new Set<number>();
  readonly #timer: NodeJS.Timeout;
  #count = 0;
  #inFlight = 0;
  /** When each write was acknowledged, in the order in which that was heard. */
  readonly acknowledgedMs: number[] = [];

  constructor(side: Side) {
    this.#side = side;
    this.#timer = setInterval(() => this.#send(), paceMs);
  }

  /** A node that is dead takes no writes. */
  skip(node: number): void {
    this.#skipped.add(node);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#agent.destroy();
  }

  #send(): void {
    const nodes = this.#side.endpoints.filter((_, node) => !this.#skipped.has(node));
    const to = nodes[this.#count % nodes.length];
    if (to === undefined || this.#inFlight >= inFlightMax) return;
    const { path, method, body } = probeOf(this.#side.dialect, `probe/${this.#count++ % 100}`);
    this.#inFlight++;
    const call = request({ ...connectionOf(to), path, method, agent: this.#agent, timeout: timeoutMs }, (response) => {
      response.resume();
      const isRight = (response.statusCode ?? 0) < 300;
      response.once("end", () => {
        if (isRight) this.acknowledgedMs.push(performance.now());
      });
    });
    call.once("timeout", () => call.destroy());
    // What fails is what is measured: it leaves a gap.
    call.once("error", () => {});
    call.once("close", () => this.#inFlight--);
    call.setHeader("content-type", "application/json");
    if (to.token !== undefined) call.setHeader("authorization", `Bearer ${to.token}`);
    call.end(body);
  }
}

function connectionOf({ host, port }: Endpoint): { readonly host: string; readonly port: number } {
  return { host, port };
}

function probeOf(dialect: Side["dialect"], key: string) {
  if (dialect === "blixard") {
    return { method: "PUT", path: `/v1/kv/${encodeURIComponent(key)}`, body: JSON.stringify({ value: valueText }) };
  }
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  return { method: "POST", path: "/v3/kv/put", body: JSON.stringify({ key: base64(key), value: base64(valueText) }) };
}

/** The longest time between two acknowledgements that follow each other, of those from the last one before `fromMs` on. */
export function longestGapMs(acknowledgedMs: readonly number[], fromMs: number): number {
  let longestMs = 0;
  for (const [at, ms] of acknowledgedMs.entries()) {
    const next = acknowledgedMs[at + 1];
    if (next !== undefined && next >= fromMs) longestMs = Math.max(longestMs, next - ms);
  }
  return longestMs;
}
