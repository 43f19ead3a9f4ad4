/** What travels in the benchmark: Raft messages as they are, and 400-byte commands that make VMs. */
import { assert, concatBytes, seededRandom, toHex } from "@blixard/common";
import { encodeCommand, vmSpecSchema } from "@blixard/protocol";
import { decodePeerMessages, encodePeerMessages } from "@blixard/protocol/peer-messages";
import { asNodeId, type Message, type PeerMessage } from "@blixard/raft";
import { asLogIndex, asTerm } from "@blixard/raft/core";

export const pingBytes = 100;
export const recordBytes = 400;
const recordsCount = 512;

export function raftMessage(from: number, to: number, fields: Partial<Message>): PeerMessage {
  const zero = { logTerm: asTerm(7), commit: asLogIndex(1_000_000), vote: asNodeId(0), reject: false };
  const message = { ...zero, from: asNodeId(from), to: asNodeId(to), term: asTerm(7), index: asLogIndex(1_000_000) };
  return {
    type: "raft",
    message: { type: "MsgAppResp", ...message, rejectHint: asLogIndex(0), entries: [], ...fields },
  };
}

/** A heartbeat or its answer that takes `pingBytes` in its encoding. */
export function pingMessage(from: number, to: number, type: "MsgHeartbeat" | "MsgHeartbeatResp"): PeerMessage {
  const bare = encodePeerMessages([raftMessage(from, to, { type, context: new Uint8Array() })]).length;
  return raftMessage(from, to, { type, context: new Uint8Array(pingBytes - bare) });
}

export const ackMessage = (count: number, from = 1, to = 2): PeerMessage =>
  raftMessage(from, to, { type: "MsgAppResp", index: asLogIndex(1_000_000 + count) });

/** An append with one VM record, as the leader sends it when commands come in one by one. */
export function recordMessage(count: number): PeerMessage {
  const data = vmRecords[count % recordsCount];
  assert(data !== undefined, "there are records");
  const index = asLogIndex(1_000_000 + count);
  return raftMessage(1, 2, { type: "MsgApp", index, entries: [{ term: asTerm(7), index, kind: "normal", data }] });
}

/** Commands of exactly 400 bytes, with ids, names and places of their own. */
const vmRecords: readonly Uint8Array[] = (() => {
  const random = seededRandom(20);
  // Of version 4, as the schema asks for.
  const uuid = () =>
    toHex(random.bytes(16)).replace(/^(.{8})(.{4}).(.{3}).(.{3})/, (_, a, b, c, d) => `${a}-${b}-4${c}-8${d}-`);
  const below = (limit: number) => Math.floor(random.next() * limit);
  return Array.from({ length: recordsCount }, (_, at) => {
    const node = 1 + below(3);
    const ids = { requestId: uuid(), vmId: uuid(), atUnixMs: 1_764_036_000_000 + below(1e9) };
    const size = { vcpus: 1 + below(4), memoryMiB: 64 * (1 + below(16)) };
    const free = below(65_536);
    const reason = `node ${node} has the fewest VMs (${below(40)}) of the 3 of 4 that fit, ${free} MiB were free; node 4: vcpus needs ${below(64)}, ${below(16)} of 16 free; node 5: memory needs ${below(65_536)} MiB (512 + 64 overhead), 100 free`;
    const encode = (placement: string) =>
      encodeCommand({
        requestId: ids.requestId,
        atUnixMs: ids.atUnixMs,
        actor: { kind: "token", id: "admin" },
        body: {
          type: "vm.create",
          name: `web-${at}`,
          vmId: ids.vmId,
          spec: vmSpecSchema.parse({ ...size, image: "builtin/nano" }),
          desired: "running",
          node,
          placement,
        },
      });
    const bytes = encode(reason.slice(0, reason.length - (encode(reason).length - recordBytes)));
    assert(bytes.length === recordBytes, `a record has ${bytes.length} bytes`);
    return bytes;
  });
})();

/** One message in one frame: its length, then its encoding; neither gathered nor compressed. */
export function plainFrame(message: PeerMessage): Uint8Array {
  const payload = encodePeerMessages([message]);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, payload.length);
  return concatBytes([length, payload]);
}

/** Takes plain frames apart; counts what they carried. */
export class PlainFrameReader {
  #rest = new Uint8Array();

  push(bytes: Uint8Array): number {
    const all = this.#rest.length === 0 ? bytes : concatBytes([this.#rest, bytes]);
    const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
    let at = 0;
    let messages = 0;
    while (all.length - at >= 4 && all.length - at - 4 >= view.getUint32(at)) {
      const end = at + 4 + view.getUint32(at);
      messages += decodePeerMessages(all.subarray(at + 4, end)).length;
      at = end;
    }
    this.#rest = all.slice(at);
    return messages;
  }
}
