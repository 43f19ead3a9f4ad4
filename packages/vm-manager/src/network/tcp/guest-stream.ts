/** On the side of the node: one connection into a guest of its own, through the switch. */
import { connect, type Socket } from "node:net";
import { BlixardError, type Clock, reasonOf, withDeadline } from "@blixard/common";
import { FrameReader } from "../frame-reader.ts";
import {
  contentBytesMax,
  jsonFrame,
  readStreamFrame,
  type StreamAnswer,
  type StreamAsk,
  type StreamFrame,
  streamFrame,
} from "./stream-frames.ts";
import { streamSocketOf } from "./stream-server.ts";

/** The switch says earlier that the guest does not answer. */
const answerMs = 8_000;

/** A TCP connection with a port of a guest, as bytes both ways; each side ends on its own. */
export interface GuestStream {
  /** What the guest sends, as it is read, until the guest ends its side. @throws GUEST_UNREACHABLE when the connection breaks */
  readonly output: AsyncIterable<Uint8Array>;
  /** Resolves when there is room for more. @throws GUEST_UNREACHABLE */
  write(content: Uint8Array): Promise<void>;
  /** No more is written. */
  end(): void;
  close(): void;
}

/** @throws GUEST_UNREACHABLE, DEADLINE_EXCEEDED */
export async function openGuestStream(
  { clock, switchSocketPath }: { readonly clock: Clock; readonly switchSocketPath: string },
  ask: StreamAsk,
  signal: AbortSignal,
): Promise<GuestStream> {
  const socket = connect(streamSocketOf(switchSocketPath));
  socket.on("error", () => {});
  const close = () => void socket.destroy();
  const frames = framesFrom(socket);
  socket.write(jsonFrame("ask", ask));
  try {
    const deadline = { clock, timeoutMs: answerMs, what: "an answer of the switch", signal };
    const first = await withDeadline(deadline, () => frames.next());
    const answer: StreamAnswer =
      first.done !== true && first.value.kind === "answer"
        ? (JSON.parse(first.value.content.toString()) as StreamAnswer)
        : { problem: "the switch does not answer" };
    if (answer.problem !== undefined) throw broken(answer.problem);
  } catch (error) {
    close();
    throw error;
  }
  return {
    output: outputOf(frames, socket),
    write: (content) => writeAll(socket, content),
    end: () => void socket.write(streamFrame("end")),
    close,
  };
}

/** Reads no further than what is asked for. */
async function* framesFrom(socket: Socket): AsyncGenerator<StreamFrame> {
  const reader = new FrameReader();
  try {
    for await (const data of socket.iterator({ destroyOnReturn: false })) {
      for (const frame of reader.push(data as Buffer)) yield readStreamFrame(frame);
    }
  } catch (error) {
    throw broken(`the connection with the switch broke: ${reasonOf(error)}`, error);
  }
}

async function* outputOf(frames: AsyncGenerator<StreamFrame>, socket: Socket): AsyncGenerator<Uint8Array> {
  for await (const { kind, content } of frames) {
    if (kind === "content") yield new Uint8Array(content);
    else if (kind === "end") {
      // Nothing more comes but the end of the socket.
      socket.resume();
      return;
    }
  }
  throw broken("the connection broke");
}

async function writeAll(socket: Socket, content: Uint8Array): Promise<void> {
  for (let from = 0; from < content.length; from += contentBytesMax) {
    const frame = streamFrame("content", content.subarray(from, from + contentBytesMax));
    await new Promise<void>((resolve, reject) => {
      socket.write(frame, (error) => (error ? reject(broken("the connection broke", error)) : resolve()));
    });
  }
}

function broken(problem: string, cause?: unknown): BlixardError {
  const more = cause === undefined ? {} : { cause };
  return new BlixardError("GUEST_UNREACHABLE", problem, { outcome: "not_applied", ...more });
}
