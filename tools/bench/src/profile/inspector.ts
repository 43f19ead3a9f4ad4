/** Takes CPU profiles of a running Node.js process over its inspector. */
import { once } from "node:events";
import { WebSocket } from "ws";
import type { CpuProfile } from "./sum-profile.ts";

const openTimeoutMs = 30_000;
const samplingIntervalUs = 500;

export class Inspector {
  readonly #socket: WebSocket;
  #lastId = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** @param url `ws://...`, as the process writes it */
  static async open(url: string): Promise<Inspector> {
    // A profile of a minute is larger than what the library takes by default.
    const socket = new WebSocket(url, { maxPayload: 1024 ** 3, handshakeTimeout: openTimeoutMs });
    await once(socket, "open");
    return new Inspector(socket);
  }

  async startProfile(): Promise<void> {
    await this.#ask("Profiler.enable");
    await this.#ask("Profiler.setSamplingInterval", { interval: samplingIntervalUs });
    await this.#ask("Profiler.start");
  }

  async stopProfile(): Promise<CpuProfile> {
    const { profile } = (await this.#ask("Profiler.stop")) as { readonly profile: CpuProfile };
    return profile;
  }

  close(): void {
    this.#socket.terminate();
  }

  #ask(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const hear = (data: unknown) => {
        const answer = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: { message: string } };
        if (answer.id !== id) return;
        this.#socket.off("message", hear);
        this.#socket.off("close", lose);
        if (answer.error === undefined) resolve(answer.result);
        else reject(new Error(`${method}: ${answer.error.message}`));
      };
      const lose = () => reject(new Error(`${method}: the inspector went away`));
      this.#socket.on("message", hear);
      this.#socket.once("close", lose);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
}
