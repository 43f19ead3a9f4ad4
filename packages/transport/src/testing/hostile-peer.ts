/** Sends hostile frames over real connections, many harmless ones before each fatal one, which ends the connection. */
import { concatBytes, offAbort, onAbort, withTimeLimit } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { NodeLane } from "../transport-lanes.ts";
import type { ByteStream, Connection, EndpointAddress, TransportAdapter } from "../transport-types.ts";
import type { HostileFrame, HostileFrames } from "./hostile-frames.ts";

export interface HostileRun {
  readonly frames: HostileFrames;
  readonly target: EndpointAddress;
  /** The sender on each lane. On the Raft lane it must have the key of the node in whose name the frames are. */
  readonly adapters: Readonly<Record<NodeLane, TransportAdapter>>;
  /** How many frames to send in all. */
  readonly count: number;
  /** How many of them, on an average, share a connection. */
  readonly perConnection: number;
}

export interface HostileReport {
  readonly sent: number;
  readonly connections: number;
  /** What the target must have counted, by reason. */
  readonly refusals: Readonly<Record<string, number>>;
}

/** How long the target may take to end a connection. */
const patienceMs = 30_000;

/** Resolves when the target has ended every connection. Rejects when it keeps one for 30 s. */
export async function sendHostileFrames(run: HostileRun): Promise<HostileReport> {
  const waiting: Record<NodeLane, HostileFrame[]> = { "blixard/raft/1": [], "blixard/rpc/1": [] };
  const refusals: Record<string, number> = {};
  let sent = 0;
  let connections = 0;
  while (sent < run.count) {
    const frame = run.frames.next();
    const queue = waiting[frame.lane];
    if (frame.fate === "harmless") queue.push(frame);
    // Whoever goes on the connection last decides how it ends, so there must be enough to go before it.
    if (frame.fate === "harmless" || queue.length < run.perConnection - 1) continue;
    // What stands before a partial frame might not be read any more when the sender hangs up.
    const batch = frame.fate === "partial" ? [frame] : [...queue.splice(0), frame];
    connections++;
    await withTimeLimit(systemClock, patienceMs, undefined, (signal) =>
      sendOn(run, { lane: frame.lane, batch, sequence: connections, signal }),
    );
    sent += batch.length;
    for (const each of batch) addAll(refusals, each.refusals);
    if (frame.refusal !== undefined) addAll(refusals, { [frame.refusal]: 1 });
  }
  return { sent, connections, refusals };
}

interface Sending {
  readonly lane: NodeLane;
  readonly batch: readonly HostileFrame[];
  readonly sequence: number;
  readonly signal: AbortSignal;
}

async function sendOn(run: HostileRun, { lane, batch, sequence, signal }: Sending): Promise<void> {
  // In memory nothing waits for the network: whoever shares the process gets a turn here.
  await new Promise((resolve) => setImmediate(resolve));
  const connection = await run.adapters[lane].connect(run.target, lane, { signal });
  void discardAnswers(connection);
  const hello = lane === "blixard/raft/1" ? [run.frames.hello(sequence)] : [];
  const bytes = concatBytes([...hello, ...batch.map((frame) => frame.bytes)]);
  const stream = await connection.openStream();
  // The other side may end the connection while the last bytes are on their way.
  await stream.write(bytes).catch(() => {});
  if (batch.at(-1)?.fate === "partial") connection.close("that is all");
  await endOf(connection, signal);
}

function endOf(connection: Connection, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Error("the connection was not ended"));
    onAbort(signal, abort);
    void connection.closed.then(resolve).finally(() => offAbort(signal, abort));
  });
}

async function discardAnswers(connection: Connection): Promise<void> {
  for (let stream = await connection.acceptStream(); stream; stream = await connection.acceptStream()) {
    void discard(stream);
  }
}

async function discard(stream: ByteStream): Promise<void> {
  try {
    while ((await stream.read(65_536)) !== undefined);
  } catch {
    // The connection is closed.
  }
}

function addAll(totals: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [reason, count] of Object.entries(more)) totals[reason] = (totals[reason] ?? 0) + count;
}
