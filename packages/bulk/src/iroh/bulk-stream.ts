/**
 * One request on one stream of Iroh: the path, then the end; back come the status as u16, the length as u32, that many
 * bytes, and the end. A stream that is still is ended by closing its connection, which is the only way to do it.
 */
import { BlixardError, fromUtf8, setRunnableTimer, toUtf8 } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { ByteStream, Connection } from "@blixard/transport";
import { bulkLimits } from "../bulk-limits.ts";
import { lost, refusalOf } from "../bulk-status.ts";

const headerBytes = 6;
const ok = 200;
const { workerPieceBytes } = bulkLimits;

/** Runs `work`; the connection is closed when `moved` was not called for so many milliseconds. */
async function guarded<T>(
  connection: Connection,
  stallMs: number,
  work: (moved: () => void) => Promise<T>,
): Promise<T> {
  let stalled = false;
  const arm = () =>
    setRunnableTimer(systemClock, stallMs, () => {
      stalled = true;
      connection.close("no byte came or left for long");
    });
  let timer = arm();
  try {
    return await work(() => {
      timer.cancel();
      timer = arm();
    });
  } catch (error) {
    throw stalled ? new BlixardError("DEADLINE_EXCEEDED", `no byte within ${stallMs} ms`, { cause: error }) : error;
  } finally {
    timer.cancel();
  }
}

/** @throws what the source refused, UNREACHABLE, DEADLINE_EXCEEDED, FRAME_TOO_LARGE */
export async function askOn(
  connection: Connection,
  { path, bytesMax, stallMs }: { readonly path: string; readonly bytesMax: number; readonly stallMs: number },
): Promise<Uint8Array> {
  return await guarded(connection, stallMs, async (moved) => {
    const stream = await connection.openStream();
    await stream.write(fromUtf8(path));
    await stream.finish();
    const answer = new Answer(bytesMax);
    for (let piece = await stream.read(workerPieceBytes); piece; piece = await stream.read(workerPieceBytes)) {
      moved();
      if (answer.takes(piece)) continue;
      // A source that sends more than was asked for breaks the protocol: its connection ends.
      connection.close("too long an answer");
      throw new BlixardError("FRAME_TOO_LARGE", "too long an answer");
    }
    return answer.body();
  });
}

class Answer {
  readonly #bytesMax: number;
  readonly #header = new Uint8Array(headerBytes);
  #received = 0;
  #body = new Uint8Array();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** False when it is longer than it says, or than it may be. */
  takes(piece: Uint8Array): boolean {
    const ofHeader = piece.subarray(0, Math.max(headerBytes - this.#received, 0));
    if (ofHeader.length > 0) {
      this.#header.set(ofHeader, this.#received);
      this.#received += ofHeader.length;
      if (this.#received < headerBytes) return true;
      const length = new DataView(this.#header.buffer).getUint32(2);
      if (length > this.#bytesMax) return false;
      this.#body = new Uint8Array(length);
    }
    const at = this.#received - headerBytes;
    const ofBody = piece.subarray(ofHeader.length);
    if (at + ofBody.length > this.#body.length) return false;
    this.#body.set(ofBody, at);
    this.#received += ofBody.length;
    return true;
  }

  /** @throws what the source refused, and UNREACHABLE when not all of it came */
  body(): Uint8Array {
    if (this.#received < headerBytes || this.#received !== headerBytes + this.#body.length) throw lost();
    const status = new DataView(this.#header.buffer).getUint16(0);
    if (status !== ok) throw refusalOf(status);
    return this.#body;
  }
}

/** The path that a request asks for. @throws UNREACHABLE, DEADLINE_EXCEEDED, FRAME_TOO_LARGE */
export async function readRequest(connection: Connection, stream: ByteStream): Promise<string> {
  return await guarded(connection, bulkLimits.stallMs, async () => {
    let text = "";
    for (let piece = await stream.read(bulkLimits.headerBytesMax); piece; piece = await stream.read(64)) {
      text += toUtf8(piece);
      if (text.length <= bulkLimits.headerBytesMax) continue;
      connection.close("too long a request");
      throw new BlixardError("FRAME_TOO_LARGE", "too long a request");
    }
    return text;
  });
}

export async function writeAnswer(
  connection: Connection,
  stream: ByteStream,
  answer: { readonly status: number; readonly body: Uint8Array },
): Promise<void> {
  const header = new Uint8Array(headerBytes);
  new DataView(header.buffer).setUint16(0, answer.status);
  new DataView(header.buffer).setUint32(2, answer.body.length);
  await guarded(connection, bulkLimits.stallMs, async (moved) => {
    await stream.write(header);
    for (let at = 0; at < answer.body.length; at += workerPieceBytes) {
      await stream.write(answer.body.subarray(at, at + workerPieceBytes));
      moved();
    }
    await stream.finish();
  });
}
