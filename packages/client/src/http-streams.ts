/** The streams of a node over its HTTP API, which has calls only: output is asked for again and again, input posted. */
import { BlixardError, type LinkedSignal, linkSignal, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import {
  kvChanges,
  limits as protocolLimits,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
} from "@blixard/protocol";
import type { Carrier, CarrierStream } from "./carrier.ts";

type Call = Carrier["call"];
type Limits = Pick<CarrierStream<StreamName>, "timeoutMs" | "signal">;
type Piece = StreamOutputOf<"vm.console">;
type KvChange = StreamOutputOf<"kv.watch">;

const waitMs = 10_000;

export async function streamOverHttp<Name extends StreamName>(
  call: Call,
  name: Name,
  request: StreamRequestOf<Name>,
  options: CarrierStream<Name>,
): Promise<AsyncIterable<StreamOutputOf<Name>>> {
  const { signal, timeoutMs, input } = options;
  const limits = signal === undefined ? { timeoutMs } : { timeoutMs, signal };
  if (!("name" in request)) {
    return (await polledKeys(call, request.prefix ?? "", limits)) as AsyncIterable<StreamOutputOf<Name>>;
  }
  const output = new PolledConsole(call, request, limits);
  // Says while the caller still waits whether there is such a VM.
  await output.read(0);
  const given = input as AsyncIterable<Uint8Array> | undefined;
  return output.pieces(name === "vm.console" ? (given ?? nothing()) : undefined) as AsyncIterable<StreamOutputOf<Name>>;
}

/** @throws UNSUPPORTED for more keys than one list holds */
async function polledKeys(call: Call, prefix: string, limits: Limits): Promise<AsyncIterable<KvChange>> {
  const list = async () => {
    const { items, truncated } = await call("kv.list", { prefix, limit: protocolLimits.listMax }, limits);
    if (!truncated) return new Map(items.map((entry) => [entry.key, entry]));
    throw new BlixardError("UNSUPPORTED", `there are too many keys under "${prefix}" to watch them over HTTP`, {
      hint: "Use a longer prefix, or a context: blixard context add NAME TICKET.",
    });
  };
  // Says while the caller still waits whether the node answers.
  const first = await list();
  return (async function* () {
    const seen = new Map<string, number>();
    yield* kvChanges(seen, first);
    yield { type: "current" };
    for (;;) {
      await sleep(systemClock, keysPollMs, limits.signal);
      yield* kvChanges(seen, await list());
    }
  })();
}

const keysPollMs = 1_000;

class PolledConsole {
  readonly #call: Call;
  readonly #name: string;
  readonly #limits: Limits;
  #offset: number;
  #first: Piece | undefined;
  #written: { readonly error?: unknown } | undefined;
  #stopRead: LinkedSignal | undefined;

  constructor(call: Call, request: { readonly name: string; readonly offset: number }, limits: Limits) {
    this.#call = call;
    this.#name = request.name;
    this.#offset = request.offset;
    this.#limits = limits;
  }

  async read(ms: number): Promise<void> {
    const { signal } = this.#limits;
    const stop = linkSignal(signal);
    this.#stopRead = stop;
    const limits = { timeoutMs: this.#limits.timeoutMs + ms, signal: stop.signal };
    try {
      const request = { name: this.#name, offset: this.#offset, waitMs: ms };
      const { offset, data } = await this.#call("vm.consoleRead", request, limits);
      this.#offset = offset + data.length;
      this.#first = { offset, data, inputEnded: false };
    } catch (error) {
      if (signal?.aborted || !stop.signal.aborted) throw error;
    } finally {
      stop.release();
    }
  }

  async *pieces(input: AsyncIterable<Uint8Array> | undefined): AsyncGenerator<Piece> {
    if (input !== undefined) void this.#writeAll(input);
    for (let told = input === undefined; ; await this.read(this.#written === undefined || told ? waitMs : 0)) {
      if (this.#written !== undefined && "error" in this.#written) throw this.#written.error;
      const piece = this.#first ?? { offset: this.#offset, data: new Uint8Array(0), inputEnded: false };
      this.#first = undefined;
      const inputEnded = !told && this.#written !== undefined;
      told ||= inputEnded;
      if (piece.data.length > 0 || inputEnded) yield { ...piece, inputEnded };
    }
  }

  async #writeAll(input: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const data of input) {
        if (this.#limits.signal?.aborted) throw new BlixardError("CANCELLED", "the console was left");
        await this.#call("vm.consoleWrite", { name: this.#name, data: new Uint8Array(data) }, this.#limits);
      }
      this.#written = {};
    } catch (error) {
      this.#written = { error };
    }
    this.#stopRead?.abort();
  }
}

async function* nothing(): AsyncIterable<Uint8Array> {}
