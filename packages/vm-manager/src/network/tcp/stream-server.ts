/** On the side of the switch: a socket for each connection into a guest that the node wants. Neither side fills the memory of this process. */
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { messageOf } from "@blixard/common";
import { FrameReader } from "../frame-reader.ts";
import { framesOf } from "../guest-link.ts";
import {
  jsonFrame,
  readStreamFrame,
  type StreamAnswer,
  type StreamAsk,
  type StreamFrame,
  streamFrame,
} from "./stream-frames.ts";
import type { TcpConnection, TcpConnectionEvents } from "./tcp-connection.ts";

/** @throws when there is none to be had */
export type ConnectGuest = (ask: StreamAsk, events: TcpConnectionEvents) => TcpConnection;

/** Where the node finds it, beside the socket for its questions. */
export function streamSocketOf(switchSocketPath: string): string {
  return `${switchSocketPath}.tcp`;
}

export function serveStreams(switchSocketPath: string, connect: ConnectGuest): Server {
  const path = streamSocketOf(switchSocketPath);
  rmSync(path, { force: true });
  return createServer((socket) => new ServedStream(socket, connect)).listen(path);
}

class ServedStream {
  readonly #socket: Socket;
  readonly #connect: ConnectGuest;
  #connection: TcpConnection | undefined;
  #opened = false;

  constructor(socket: Socket, connect: ConnectGuest) {
    this.#socket = socket;
    this.#connect = connect;
    const reader = new FrameReader();
    socket.on("data", (data: Buffer) => {
      for (const frame of framesOf(socket, reader, data)) this.#take(readStreamFrame(frame));
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#connection?.close("nobody wants it any more"));
  }

  #take({ kind, content }: StreamFrame): void {
    if (kind === "content") {
      if (this.#connection?.write(content) === false) this.#socket.pause();
    } else if (kind === "end") this.#connection?.end();
    else if (kind === "ask" && this.#connection === undefined) this.#open(content);
    else this.#socket.destroy();
  }

  #open(content: Buffer): void {
    try {
      this.#connection = this.#connect(JSON.parse(content.toString()) as StreamAsk, this.#events());
    } catch (error) {
      this.#answer({ problem: messageOf(error) });
      this.#socket.end();
    }
  }

  #answer(answer: StreamAnswer): void {
    this.#socket.write(jsonFrame("answer", answer));
  }

  #events(): TcpConnectionEvents {
    const socket = this.#socket;
    return {
      onOpen: () => {
        this.#opened = true;
        this.#answer({});
      },
      // The guest may send more when this has gone.
      onContent: (content) => {
        const { length } = content;
        socket.write(streamFrame("content", content), () => this.#connection?.took(length));
      },
      onEnd: () => void socket.write(streamFrame("end")),
      onDrain: () => void socket.resume(),
      onOver: (problem) => {
        if (this.#opened && problem !== undefined) return void socket.destroy();
        if (!this.#opened) this.#answer(problem === undefined ? {} : { problem });
        socket.end();
        socket.resume();
      },
    };
  }
}
