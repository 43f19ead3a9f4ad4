/** One way to the other process, as the measurements use it. */
import { Watch } from "@blixard/common";
import type { PeerMessage } from "@blixard/raft";
import { openCarrier } from "./carriers.ts";
import { openLane } from "./lane.ts";
import { ackEvery, isCarrier, type PathName, PeerProcess } from "./peer-process.ts";
import { pingBytes, pingMessage, plainFrame } from "./traffic.ts";

export interface Path {
  readonly name: PathName;
  readonly peer: PeerProcess;
  /** There and back. */
  ping(): Promise<void>;
  /** One write; a lane carries messages only. */
  readonly write: ((bytes: Uint8Array) => Promise<void>) | undefined;
  /** A carrier takes each message in a frame of its own and resolves when it was written; a lane gathers. */
  send(message: PeerMessage): Promise<void>;
  close(): Promise<void>;
}

/** Messages on their way that a leader allows itself for each follower. */
const inFlightMax = 256;

export async function openPath(name: PathName): Promise<Path> {
  const peer = new PeerProcess(name);
  try {
    return isCarrier(name) ? await carrierPath(name, peer) : await lanePath(name, peer);
  } catch (error) {
    peer.close();
    throw error;
  }
}

async function carrierPath(
  name: Extract<PathName, Parameters<typeof openCarrier>[0]>,
  peer: PeerProcess,
): Promise<Path> {
  const carrier = await openCarrier(name, 1);
  const stream = await carrier.open(await peer.address);
  const payload = new Uint8Array(pingBytes).fill(7);
  return {
    name,
    peer,
    ping: async () => {
      await stream.write(payload);
      for (let missing = pingBytes; missing > 0; ) missing -= (await stream.read(pingBytes))?.length ?? missing;
    },
    write: (bytes) => stream.write(bytes),
    send: (message) => stream.write(plainFrame(message)),
    close: async () => {
      peer.close();
      await carrier.close();
    },
  };
}

async function lanePath(name: Exclude<PathName, Parameters<typeof openCarrier>[0]>, peer: PeerProcess): Promise<Path> {
  const acknowledged = new Watch(0);
  const answered = new Watch(0);
  let sent = 0;
  let lost: Error | undefined;
  const onMessage = (message: PeerMessage) => {
    if (message.type === "raft" && message.message.type === "MsgHeartbeatResp") answered.set(answered.value + 1);
    else acknowledged.set(acknowledged.value + ackEvery);
  };
  const onLost = (error: Error) => {
    lost = error;
    for (const watch of [acknowledged, answered]) watch.set(watch.value);
  };
  /** A message that is lost is not sent again, so nobody may wait for it. */
  const reached = (watch: Watch<number>, least: number) =>
    watch.until((count) => {
      if (lost !== undefined) throw lost;
      return count >= least;
    });
  const lane = await openLane(name, 1, onMessage, onLost);
  peer.meet(lane.address);
  await lane.connect(await peer.address);
  const heartbeat = pingMessage(1, 2, "MsgHeartbeat");
  return {
    name,
    peer,
    ping: async () => {
      const before = answered.value;
      lane.send(heartbeat);
      await reached(answered, before + 1);
    },
    write: undefined,
    send: async (message) => {
      if (sent - acknowledged.value >= inFlightMax) await reached(acknowledged, sent - inFlightMax + 1);
      sent++;
      lane.send(message);
    },
    close: async () => {
      peer.close();
      await lane.close();
    },
  };
}
