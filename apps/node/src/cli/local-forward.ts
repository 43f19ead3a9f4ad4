/** A port of this machine that leads to a port of a VM, wherever that runs: each connection is a stream of its own to the node of the VM. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { BlixardClient } from "@blixard/client";
import { BlixardError, messageOf } from "@blixard/common";

const listenAddress = "127.0.0.1";
/** A connection more than that is closed at once. */
const connectionsMax = 128;

export interface ForwardedPort {
  readonly name: string;
  /** Of the VM. */
  readonly port: number;
  /** Of this machine, on loopback; 0: the system chooses one. */
  readonly localPort: number;
  /** Absent: as the node chooses. */
  readonly network?: string;
}

export class LocalForward {
  readonly #client: BlixardClient;
  readonly #to: ForwardedPort;
  readonly #onProblem: (message: string) => void;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(client: BlixardClient, to: ForwardedPort, onProblem: (message: string) => void) {
    this.#client = client;
    this.#to = to;
    this.#onProblem = onProblem;
    // Each side of a connection ends on its own.
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => void this.#carry(socket));
    this.#server.maxConnections = connectionsMax;
  }

  /** `onProblem` is told of each connection that breaks or is refused. @throws PORT_IN_USE, INVALID_ARGUMENT */
  static async open(
    client: BlixardClient,
    to: ForwardedPort,
    onProblem: (message: string) => void,
  ): Promise<LocalForward> {
    const forward = new LocalForward(client, to, onProblem);
    forward.#server.listen(to.localPort, listenAddress);
    try {
      await once(forward.#server, "listening");
    } catch (error) {
      throw listenError(error, to);
    }
    return forward;
  }

  /** On loopback of this machine. */
  get localPort(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #carry(socket: Socket): Promise<void> {
    const left = new AbortController();
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(socket);
      left.abort(new BlixardError("CANCELLED", "the connection was left"));
    });
    try {
      const { name, port, network } = this.#to;
      const output = await this.#client.vms.openForward(
        { name, port, ...(network === undefined ? {} : { network }) },
        { input: inputOf(socket), signal: left.signal },
      );
      for await (const { data, ended } of output) {
        if (data.length > 0 && !socket.write(data)) await drained(socket);
        if (ended) socket.end();
      }
    } catch (error) {
      if (!left.signal.aborted) this.#onProblem(messageOf(error));
      // What breaks is not to look like an end.
      socket.resetAndDestroy();
    }
  }
}

/** Reads no further than what is asked for. */
async function* inputOf(socket: Socket): AsyncGenerator<Uint8Array> {
  for await (const data of socket.iterator({ destroyOnReturn: false })) yield new Uint8Array(data as Buffer);
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.once("drain", done);
    socket.once("close", done);
    if (socket.destroyed) done();
  });
}

function listenError(error: unknown, { localPort, port }: ForwardedPort): unknown {
  const { code } = error as { readonly code?: unknown };
  const hint = `Choose another one: LOCAL:${port}, or 0:${port} for one that the system chooses.`;
  if (code === "EADDRINUSE") {
    return new BlixardError("PORT_IN_USE", `port ${localPort} of this machine is in use`, { hint, cause: error });
  }
  if (code === "EACCES") {
    const message = `this user may not listen on port ${localPort}`;
    return new BlixardError("INVALID_ARGUMENT", message, { hint, cause: error });
  }
  return error;
}
