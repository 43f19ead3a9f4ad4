import { describe, expect, it } from "@jest/globals";
import type { Ipv4End } from "../ipv4-frame.ts";
import { etherHeaderBytes } from "../packet.ts";
import { type ReceivedSegment, readSegment, type TcpFlag, tcpFrame } from "../tcp/tcp-segment.ts";
import type { ProbeAsk } from "./guest-probe.ts";
import { ProbeDesk } from "./probe-desk.ts";

const own = { mac: "02:00:00:00:00:02", address: 0x0a_00_02_02 };
const guest = { mac: "02:00:00:00:00:0a", address: 0x0a_00_02_0f };
const http: ProbeAsk = { type: "http", port: 80, path: "/ready" };
const longMs = 60_000;

/** A guest that says what `answer` returns to each segment. */
class Wire {
  readonly seen: ReceivedSegment[] = [];
  readonly desk: ProbeDesk;
  readonly #answer: (segment: ReceivedSegment, wire: Wire) => void;

  constructor(answer: (segment: ReceivedSegment, wire: Wire) => void) {
    this.#answer = answer;
    this.desk = new ProbeDesk({ own, guest, send: (frame) => this.#take(frame) });
  }

  /** What the guest says to `segment`; true when the desk took it for its own. */
  say(
    { source, sequence, content, flags }: ReceivedSegment,
    words: {
      readonly flags: readonly TcpFlag[];
      readonly sequence: number;
      readonly content?: string;
      readonly from?: Ipv4End;
    },
  ): boolean {
    const from = words.from ?? { ...guest, port: 80 };
    const acknowledged = (sequence + content.length + (flags.includes("syn") ? 1 : 0)) >>> 0;
    const said = { sequence: words.sequence, acknowledged, flags: words.flags };
    return this.desk.takes(
      tcpFrame(from, { ...own, port: source.port }, { ...said, content: Buffer.from(words.content ?? "") }),
    );
  }

  #take(frame: Buffer): void {
    const segment = readSegment(frame);
    if (segment === undefined) throw new Error("a probe writes whole segments");
    this.seen.push(segment);
    setImmediate(() => this.#answer(segment, this));
  }
}

/** A server that takes the connection and answers with `line`, cut into `pieces`. */
const serves = (pieces: readonly string[]) => (segment: ReceivedSegment, wire: Wire) => {
  if (segment.flags.includes("syn")) wire.say(segment, { flags: ["syn", "ack"], sequence: 1_000 });
  if (segment.content.length === 0) return;
  let sequence = 1_001;
  for (const content of pieces) {
    wire.say(segment, { flags: ["ack", "psh"], sequence, content });
    sequence += content.length;
  }
};

describe("a probe of a guest", () => {
  it("is content with a port that takes the connection, and lets go of it", async () => {
    const wire = new Wire(serves([]));
    expect(await wire.desk.ask({ type: "tcp", port: 80 }, longMs)).toEqual({});
    expect(wire.seen.map(({ flags }) => flags)).toEqual([["syn"], ["rst", "ack"]]);
  });

  it("asks for the path, and reads the status in whatever pieces it comes", async () => {
    const wire = new Wire(serves(["HTTP/1.", "1 204 No Content\r", "\nrest"]));
    expect(await wire.desk.ask(http, longMs)).toEqual({});
    const question = wire.seen.find(({ content }) => content.length > 0)?.content.toString();
    expect(question).toMatch(/^GET \/ready HTTP\/1\.1\r\nHost: 10\.0\.2\.15\r\n.*\r\n\r\n$/s);
  });

  it.each([
    ["an error of the server", ["HTTP/1.1 503 Service Unavailable\r\n"], "the answer is 503"],
    ["something else", ["SSH-2.0-OpenSSH_9.2\r\n"], "the answer is not HTTP"],
    ["a line without an end", ["x".repeat(1_400), "x".repeat(1_400)], "the answer is not HTTP"],
  ])("finds fault with %s", async (_, pieces, problem) => {
    expect(await new Wire(serves(pieces)).desk.ask(http, longMs)).toEqual({ problem });
  });

  it("finds fault with a port where nobody listens, and with a guest that is silent", async () => {
    const refuses = new Wire((segment, wire) => wire.say(segment, { flags: ["rst", "ack"], sequence: 0 }));
    expect(await refuses.desk.ask(http, longMs)).toEqual({ problem: "the connection is refused" });
    const silent = new Wire(() => {});
    expect(await silent.desk.ask(http, 50)).toEqual({ problem: "nobody answers within 50 ms" });
    const mute = new Wire(serves([]));
    expect(await mute.desk.ask(http, 50)).toEqual({ problem: "it is connected and says nothing within 50 ms" });
  });

  it("asks again when a segment was lost", async () => {
    let lost = 0;
    const serve = serves(["HTTP/1.1 200 OK\r\n"]);
    const wire = new Wire((segment, self) => {
      if (lost++ % 2 === 1) serve(segment, self);
    });
    expect(await wire.desk.ask(http, longMs)).toEqual({});
  });

  it("takes only what is for a probe, and believes only the guest", async () => {
    const wire = new Wire((segment, self) => {
      if (!segment.flags.includes("syn")) return;
      const neighbour = { ...guest, address: guest.address + 1, port: 80 };
      expect(self.say(segment, { flags: ["syn", "ack"], sequence: 1, from: neighbour })).toBe(true);
      expect(self.say(segment, { flags: ["syn", "ack"], sequence: 1, from: { ...guest, port: 81 } })).toBe(false);
      const cut = tcpFrame(
        { ...guest, port: 80 },
        { ...own, port: segment.source.port },
        { ...segment, flags: ["ack"] },
      );
      for (let length = 0; length < cut.length; length++) {
        expect(self.desk.takes(cut.subarray(0, length))).toBe(false);
      }
      cut.writeUInt8(0xf0, etherHeaderBytes + 20 + 12);
      expect(self.desk.takes(cut)).toBe(false);
    });
    expect(await wire.desk.ask({ type: "tcp", port: 80 }, 100)).toEqual({ problem: "nobody answers within 100 ms" });
    expect(wire.desk.takes(tcpFrame({ ...guest, port: 80 }, { ...own, port: 961 }, emptySegment))).toBe(false);
  });
});

const emptySegment = { sequence: 0, acknowledged: 0, flags: ["ack"] as const, content: Buffer.alloc(0) };
