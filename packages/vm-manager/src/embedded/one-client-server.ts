/** A unix socket server that serves one client at a time; the next ones wait, silent, as QEMU's character devices do. */
import { createServer, type Server, type Socket } from "node:net";
import { BoundedQueue } from "@blixard/common";

const waitingMax = 8;

export class OneClientServer {
  readonly #server: Server;
  readonly #serve: (socket: Socket) => void;
  readonly #waiting = new BoundedQueue<Socket>(waitingMax);
  #client: Socket | undefined;

  constructor(serve: (socket: Socket) => void) {
    this.#serve = serve;
    this.#server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#left(socket));
      if (!this.#waiting.push(socket)) socket.destroy();
      this.#next();
    });
  }

  get client(): Socket | undefined {
    return this.#client;
  }

  /** `descriptor`: a socket that somebody else bound. */
  listen(descriptor: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ fd: descriptor }, resolve);
    });
  }

  close(): void {
    this.#server.close();
    for (let socket = this.#waiting.shift(); socket !== undefined; socket = this.#waiting.shift()) socket.destroy();
    // What was written before, an event or an answer, still goes out.
    this.#client?.destroySoon();
  }

  #left(socket: Socket): void {
    if (this.#client !== socket) return;
    this.#client = undefined;
    this.#next();
  }

  #next(): void {
    while (this.#client === undefined) {
      const socket = this.#waiting.shift();
      if (socket === undefined) return;
      if (socket.destroyed) continue;
      this.#client = socket;
      this.#serve(socket);
    }
  }
}
