import { parseIpv4 } from "@blixard/common";
import type { SecurityRule } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { type FrameWishes, ipv4Frame } from "../../testing/frames.ts";
import { readPacket } from "../packet.ts";
import { CardWall, cardFlowsMax } from "./card-wall.ts";
import { type CardRules, cardRulesOf, type Direction } from "./security-rules.ts";

const own = "10.1.0.2";
const other = "10.1.0.3";
const echo = { request: 8, reply: 0 } as const;

let nowMs: number;
let wall: CardWall;
let rules: CardRules;
beforeEach(() => {
  nowMs = 1_000;
  wall = new CardWall(() => nowMs);
});

const permit = (wished: Partial<Record<Direction, readonly SecurityRule[]>>) => {
  rules = cardRulesOf(["own"], [{ name: "own", in: [], out: [], ...wished }]);
};

function judge(direction: Direction, frame: Buffer, peer = other) {
  const packet = readPacket(frame);
  if (packet?.type !== "ipv4") throw new Error("the test makes packets of IPv4");
  return wall.refuses({ packet, frame, direction, other: { address: parseIpv4(peer) }, rules }) ?? "passes";
}

/** What the guest sends, and what comes to it: `port` is that of whoever gets it. */
const out = (wishes: FrameWishes = {}) => judge("out", ipv4Frame({ from: own, to: other, ...wishes }), wishes.to);
const into = (wishes: FrameWishes = {}) => judge("in", ipv4Frame({ from: other, to: own, ...wishes }), wishes.from);
const answer = { sourcePort: 80, port: 40_000, ack: true } as const;
const udp = { protocol: "udp" } as const;

function icmp(
  type: number,
  { from, to, id = 7 }: { readonly from: string; readonly to: string; readonly id?: number },
) {
  const frame = ipv4Frame({ from, to, protocol: "icmp" });
  frame.fill(0, 34);
  frame.writeUInt8(type, 34);
  frame.writeUInt16BE(id, 38);
  return frame;
}

describe("the wall of a card with security groups", () => {
  it("lets what a rule allows and the answers pass, and nothing else", () => {
    permit({ out: [{ protocol: "tcp", ports: ["80"] }] });
    expect(into(answer)).toBe("no_rule_in");
    expect(out()).toBe("passes");
    expect(into(answer)).toBe("passes");
    expect(out({ syn: false, ack: true })).toBe("passes");
    expect(out({ port: 81 })).toBe("no_rule_out");
    expect(into({ ...answer, sourcePort: 81 })).toBe("no_rule_in");
    expect(into({ ...answer, port: 40_001 })).toBe("no_rule_in");
    expect(into({ ...answer, from: "10.1.0.4" })).toBe("no_rule_in");
    expect(into({ ...answer, protocol: "udp" })).toBe("no_rule_in");
  });

  it("takes no new connection for an answer, whatever its ports are", () => {
    permit({ out: [{ protocol: "tcp", ports: ["80"] }] });
    out();
    expect(into({ ...answer, ack: false })).toBe("no_rule_in");
    expect(into(answer)).toBe("passes");
    permit({ out: [{ protocol: "tcp", ports: ["80"] }], in: [{ protocol: "tcp", ports: ["40000"] }] });
    expect(into({ ...answer, ack: false })).toBe("passes");
  });

  it("lets answers of datagrams and of echo requests pass, and errors about what was sent", () => {
    permit({ out: [{ protocol: "udp", ports: ["53"] }, { protocol: "icmp" }] });
    expect(out({ ...udp, port: 53 })).toBe("passes");
    expect(into({ ...udp, sourcePort: 53, port: 40_000 })).toBe("passes");
    expect(into({ ...udp, sourcePort: 53, port: 40_001 })).toBe("no_rule_in");

    const asked = { from: own, to: other };
    const back = { from: other, to: own };
    expect(judge("in", icmp(echo.reply, back))).toBe("no_rule_in");
    expect(judge("out", icmp(echo.request, asked))).toBe("passes");
    expect(judge("in", icmp(echo.reply, back))).toBe("passes");
    expect(judge("in", icmp(echo.reply, { ...back, id: 8 }))).toBe("no_rule_in");
    expect(judge("in", icmp(echo.request, back))).toBe("no_rule_in");

    const about = (wishes: FrameWishes) =>
      Buffer.concat([icmp(3, back).subarray(0, 42), ipv4Frame({ from: own, to: other, ...wishes }).subarray(14)]);
    expect(judge("in", about({ ...udp, port: 53 }))).toBe("passes");
    expect(judge("in", about({ ...udp, port: 54 }))).toBe("no_rule_in");
    expect(judge("in", about({ ...udp, port: 53, to: "10.1.0.4" }))).toBe("no_rule_in");
    expect(judge("in", about({ ...udp, port: 53, fragment: 1 }))).toBe("no_rule_in");
    for (let length = 34; length < 70; length++) judge("in", about({ ...udp, port: 53 }).subarray(0, length));
  });

  it.each([
    ["the first", 0x2000],
    ["a later one", 0x0001],
    ["a later one, with more to come", 0x2003],
  ])("lets no fragment, %s, pass a rule about ports, nor as an answer", (_, fragment) => {
    permit({ in: [{ protocol: "udp", ports: ["53"] }], out: [{ protocol: "udp", ports: ["53"] }] });
    expect(out({ ...udp, port: 53 })).toBe("passes");
    expect(out({ ...udp, port: 53, fragment })).toBe("no_rule_out");
    expect(into({ ...udp, port: 53, fragment })).toBe("no_rule_in");
    expect(into({ ...udp, sourcePort: 53, port: 40_000, fragment })).toBe("no_rule_in");
    permit({ in: [{ protocol: "udp" }] });
    expect(into({ ...udp, port: 53, fragment })).toBe("passes");
    expect(into({ protocol: "tcp", fragment })).toBe("no_rule_in");
    expect(out({ ...udp, sourcePort: 53, port: 40_000, fragment })).toBe("no_rule_out");
  });

  it("ends what the rules do not allow any more, and keeps what they do", () => {
    permit({ out: [{ protocol: "tcp", ports: ["80"] }] });
    out();
    permit({ out: [{ protocol: "tcp", ports: ["80-90"] }] });
    expect(into(answer)).toBe("passes");
    permit({ out: [{ protocol: "tcp", ports: ["81"] }] });
    expect(into(answer)).toBe("no_rule_in");
    expect(out({ syn: false, ack: true })).toBe("no_rule_out");
    permit({ out: [{ protocol: "tcp", ports: ["80"] }] });
    expect(into(answer)).toBe("no_rule_in");
  });

  it("forgets what was never answered, what is over and what is silent", () => {
    permit({ out: [{ protocol: "tcp" }, { protocol: "udp" }] });
    const later = (ms: number) => {
      nowMs += ms;
    };
    out();
    later(29_000);
    expect(into(answer)).toBe("passes");
    later(3_500_000);
    expect(into({ ...answer, syn: false })).toBe("passes");
    const fin = ipv4Frame({ from: own, to: other, syn: false, ack: true });
    fin.writeUInt8(0x11, 47);
    expect(judge("out", fin)).toBe("passes");
    later(60_000);
    const finBack = ipv4Frame({ from: other, to: own, ...answer });
    finBack.writeUInt8(0x11, 47);
    expect(judge("in", finBack)).toBe("passes");
    later(9_000);
    expect(into({ ...answer, syn: false })).toBe("passes");
    later(2_000);
    expect(into({ ...answer, syn: false })).toBe("no_rule_in");

    out({ sourcePort: 40_001 });
    later(31_000);
    expect(into({ ...answer, port: 40_001 })).toBe("no_rule_in");
    out({ ...udp, port: 53 });
    into({ ...udp, sourcePort: 53, port: 40_000 });
    later(170_000);
    expect(into({ ...udp, sourcePort: 53, port: 40_000 })).toBe("passes");
    later(181_000);
    wall.sweep();
    expect(wall.size).toBe(0);
  });

  it("takes no more than its share, keeps a part for each side, and has room again later", () => {
    permit({ in: [{ protocol: "udp" }], out: [{ protocol: "udp", ports: ["1-1000"] }] });
    const flood = (count: number, send: (number: number) => string) =>
      Array.from({ length: count }, (_, number) => send(number)).filter((verdict) => verdict === "passes").length;
    const many = cardFlowsMax + 100;
    const eighth = cardFlowsMax / 8;
    expect(flood(many, (number) => into({ ...udp, sourcePort: number + 1, port: 9 }))).toBe(eighth);
    expect(into({ ...udp, sourcePort: many, port: 9 })).toBe("connections_full");
    // Others still come in, as many as the rest holds, and the guest begins what it likes.
    const rest = (number: number) => into({ ...udp, from: `10.1.1.${number % 9}`, sourcePort: number + 1, port: 9 });
    expect(flood(2 * many, rest)).toBe(3 * eighth);
    expect(flood(many, (number) => out({ ...udp, sourcePort: number + 20_000, port: 7 }))).toBe(4 * eighth);
    expect(wall.size).toBe(cardFlowsMax);
    // Those that are there go on.
    expect(into({ ...udp, sourcePort: 1, port: 9 })).toBe("passes");
    nowMs += 31_000;
    expect(into({ ...udp, sourcePort: many, port: 9 })).toBe("passes");
    expect(wall.size).toBeLessThan(cardFlowsMax);
  });

  it("gives up the oldest where its share becomes smaller", () => {
    let share = 1_000;
    wall = new CardWall(
      () => nowMs,
      () => share,
    );
    permit({ in: [{ protocol: "udp", ports: ["9"] }], out: [{ protocol: "udp", ports: ["53"] }] });
    for (let number = 1; number <= 100; number++) {
      out({ ...udp, sourcePort: number, port: 53 });
      into({ ...udp, sourcePort: number, port: 9 });
    }
    share = 20;
    wall.sweep();
    expect(wall.size).toBe(20);
    expect(into({ ...udp, sourcePort: 53, port: 100 })).toBe("passes");
    expect(into({ ...udp, sourcePort: 53, port: 90 })).toBe("no_rule_in");
  });
});
