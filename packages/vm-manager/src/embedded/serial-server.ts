/** The serial port of an embedded VM: a log file that is always written, and a socket for the one client. */
import { openSync, writeSync } from "node:fs";
import { OneClientServer } from "./one-client-server.ts";

const outputBytesMax = 16 * 1024;
/** Output that a client did not read; past it the client loses its connection, the guest never waits. */
const clientBacklogBytesMax = 1024 * 1024;

export class SerialServer {
  readonly #log: number;
  readonly #server: OneClientServer;
  readonly #output = Buffer.alloc(outputBytesMax);
  #outputLength = 0;
  #flushQueued = false;

  constructor(logPath: string, onInput: (data: Uint8Array) => void) {
    this.#log = openSync(logPath, "a", 0o600);
    this.#server = new OneClientServer((socket) => socket.on("data", (data: Buffer) => onInput(data)));
  }

  async listen(descriptor: number): Promise<void> {
    await this.#server.listen(descriptor);
  }

  /** Takes one byte of output. Bytes of one turn of the event loop are written together. */
  write(byte: number): void {
    this.#output[this.#outputLength++] = byte;
    if (this.#outputLength === outputBytesMax) this.flush();
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    setImmediate(() => this.flush());
  }

  flush(): void {
    this.#flushQueued = false;
    if (this.#outputLength === 0) return;
    const piece = Buffer.from(this.#output.subarray(0, this.#outputLength));
    this.#outputLength = 0;
    writeSync(this.#log, piece);
    const client = this.#server.client;
    if (client === undefined) return;
    if (client.writableLength > clientBacklogBytesMax) client.destroy();
    else client.write(piece);
  }

  close(): void {
    this.flush();
    this.#server.close();
  }
}
