/**
 * One connection of TCP (RFC 9293) that the switch opens into a guest, over a wire that is no longer than this machine: segments
 * are hardly ever lost and never overtake one another, so what comes out of order is asked for again, and what is lost is sent again
 * from there on. At most a window of 64 KiB is on its way in each direction.
 *
 *   opening --SYN+ACK--> open --both sides have ended, and know it--> over
 *   any --RST, no answer, close()--> over
 */
import type { Ipv4End } from "../ipv4-frame.ts";
import { mssDefault, type ReceivedSegment, type TcpFlag, tcpFrame } from "./tcp-segment.ts";

/** Of IPv4 over Ethernet. */
const mssOwn = 1_460;
const windowBytesMax = 65_535;
/** What may wait here for the guest, the bytes on their way included; who writes more waits. */
const sendBytesMax = 128 * 1024;
const resendMs = 250;
const resendMsMax = 4_000;
/** About half a minute. */
const resendsMax = 10;
const repeatedAcksMax = 3;

export interface TcpConnectionDeps {
  readonly send: (frame: Buffer) => void;
  /** The card of the guest has enough to do. */
  readonly isFull: () => boolean;
  readonly own: Ipv4End;
  readonly guest: Ipv4End;
  /** Of the first byte, by chance. */
  readonly sequence: number;
  readonly openMs: number;
}

export interface TcpConnectionEvents {
  readonly onOpen: () => void;
  /** What the guest sends, in order. `took` says when somebody has it. */
  readonly onContent: (content: Buffer) => void;
  /** The guest sends no more. */
  readonly onEnd: () => void;
  /** `write` takes more again. */
  readonly onDrain: () => void;
  /** Why the connection broke; undefined when both sides have ended it. */
  readonly onOver: (problem: string | undefined) => void;
}

export class TcpConnection {
  readonly #deps: TcpConnectionDeps;
  readonly #events: TcpConnectionEvents;
  readonly #deadline: NodeJS.Timeout;
  #state: "opening" | "open" | "over" = "opening";
  /** What the guest has not acknowledged, its first byte at `#acknowledged`, counted from the first byte that was ever written. */
  #waiting: Buffer = Buffer.alloc(0);
  #acknowledged = 0;
  /** The byte that goes next, and the one after the last that ever went. */
  #next = 0;
  #sent = 0;
  #peerWindow = 0;
  #peerMss = mssDefault;
  #wasFull = false;
  #ends = false;
  #endAcknowledged = false;
  #repeatedAcks = 0;
  #resends = 0;
  #resend: NodeJS.Timeout | undefined;
  /** Number of the byte that the guest sends next. */
  #expected = 0;
  #untaken = 0;
  #saidWindow = windowBytesMax;
  #guestEnded = false;
  #ackDue = false;

  constructor(deps: TcpConnectionDeps, events: TcpConnectionEvents) {
    this.#deps = deps;
    this.#events = events;
    this.#deadline = setTimeout(() => this.#over(`nobody answers within ${deps.openMs} ms`), deps.openMs);
    this.#transmit();
  }

  /** False when so much waits that the writer has to; `onDrain` says when it is enough. */
  write(content: Buffer): boolean {
    if (this.#state === "over" || this.#ends) return false;
    this.#waiting = Buffer.concat([this.#waiting, content]);
    this.#wasFull ||= this.#waiting.length >= sendBytesMax;
    this.pump();
    return !this.#wasFull;
  }

  /** No more is written. */
  end(): void {
    this.#ends = true;
    this.pump();
  }

  /** Somebody has so many bytes more of what the guest sent. */
  took(bytes: number): void {
    this.#untaken -= bytes;
    // A window that was all but closed is open again.
    if (this.#saidWindow < 2 * mssOwn && this.#window() >= windowBytesMax / 2) this.#acknowledge();
  }

  /** Sends what may go: called when the card takes more, too. */
  pump(): void {
    if (this.#state !== "open") return;
    while (this.#next < this.#end && !this.#deps.isFull()) {
      const room = this.#acknowledged + this.#peerWindow - this.#next;
      if (room <= 0) break;
      this.#sendFrom(this.#next, Math.min(room, this.#peerMss));
    }
    if (this.#ends && !this.#endAcknowledged && this.#next === this.#end) this.#sendFrom(this.#next, 0);
    this.#watch();
  }

  close(problem: string): void {
    this.#over(problem);
  }

  receive(segment: ReceivedSegment): void {
    const { flags, acknowledged } = segment;
    if (this.#state === "over") return;
    if (this.#state === "opening") {
      if (!flags.includes("ack") || acknowledged !== this.#numberOf(0)) return;
      if (flags.includes("rst")) this.#over("the connection is refused");
      else if (flags.includes("syn")) this.#open(segment);
      return;
    }
    if (flags.includes("rst")) {
      const isInWindow = (segment.sequence - this.#expected) >>> 0 <= windowBytesMax;
      if (isInWindow) this.#over("the guest has reset the connection");
      return;
    }
    if (flags.includes("ack")) this.#takeAck(segment);
    this.#takeContent(segment);
    if (this.#guestEnded && this.#endAcknowledged) {
      this.#flushAck();
      this.#over(undefined);
    }
  }

  /** After the last byte that was written. */
  get #end(): number {
    return this.#acknowledged + this.#waiting.length;
  }

  #open({ sequence, window, mss }: ReceivedSegment): void {
    clearTimeout(this.#deadline);
    this.#state = "open";
    this.#expected = (sequence + 1) >>> 0;
    this.#peerWindow = window;
    this.#peerMss = Math.max(1, Math.min(mss, mssOwn));
    this.#progressed();
    this.#acknowledge();
    this.#events.onOpen();
    this.pump();
  }

  #takeAck({ acknowledged, window, content, flags }: ReceivedSegment): void {
    const beyond = (acknowledged - this.#numberOf(this.#acknowledged)) >>> 0;
    const endWent = this.#ends && this.#sent > this.#end;
    // What was never sent cannot have come.
    if (beyond > this.#sent - this.#acknowledged) return;
    const opened = window > this.#peerWindow;
    const unchanged = window === this.#peerWindow;
    this.#peerWindow = window;
    if (beyond > 0) {
      const bytes = Math.min(beyond, this.#waiting.length);
      this.#endAcknowledged ||= endWent && beyond > bytes;
      this.#waiting = this.#waiting.subarray(bytes);
      this.#acknowledged += bytes;
      this.#next = Math.max(this.#next, this.#acknowledged);
      this.#repeatedAcks = 0;
      this.#progressed();
      if (this.#wasFull && this.#waiting.length <= sendBytesMax / 2 && !this.#ends) {
        this.#wasFull = false;
        this.#events.onDrain();
      }
    } else if (content.length === 0 && unchanged && !flags.includes("fin") && this.#waiting.length > 0) {
      // With a closed window, it lives and has no room.
      if (window === 0) this.#resends = 0;
      else if (++this.#repeatedAcks === repeatedAcksMax) this.#sendFrom(this.#acknowledged, this.#peerMss);
    }
    if (beyond > 0 || opened) this.pump();
  }

  #takeContent({ sequence, content, flags }: ReceivedSegment): void {
    const ends = flags.includes("fin");
    if (content.length === 0 && !ends) return;
    // Whatever it is, the guest learns how far it has come.
    this.#acknowledgeSoon();
    const known = (this.#expected - sequence) >>> 0;
    if (this.#guestEnded || known > content.length) return;
    const fresh = content.subarray(known);
    if (fresh.length > this.#window()) return;
    if (fresh.length > 0) {
      this.#expected = (this.#expected + fresh.length) >>> 0;
      this.#untaken += fresh.length;
      this.#events.onContent(fresh);
    }
    if (!ends || this.#isOver()) return;
    this.#expected = (this.#expected + 1) >>> 0;
    this.#guestEnded = true;
    this.#events.onEnd();
  }

  #isOver(): boolean {
    return this.#state === "over";
  }

  /** The segment at `from`, and the end of all when nothing follows it. */
  #sendFrom(from: number, bytesMax: number): void {
    const at = from - this.#acknowledged;
    const content = this.#waiting.subarray(at, at + bytesMax);
    const to = from + content.length;
    const ends = this.#ends && to === this.#end;
    this.#write(ends ? ["fin", "ack", "psh"] : ["ack", "psh"], from, content);
    this.#next = Math.max(this.#next, to + (ends ? 1 : 0));
    this.#sent = Math.max(this.#sent, this.#next);
  }

  #progressed(): void {
    this.#resends = 0;
    clearTimeout(this.#resend);
    this.#resend = undefined;
  }

  /** While anything is on its way, or waits for a window, it is sent again in the end. */
  #watch(): void {
    const waits = this.#waiting.length > 0 || (this.#ends && !this.#endAcknowledged);
    if (!waits || this.#resend !== undefined) return;
    const delayMs = Math.min(resendMs * 2 ** this.#resends, resendMsMax);
    this.#resend = setTimeout(() => this.#sendAgain(), delayMs);
  }

  #sendAgain(): void {
    this.#resend = undefined;
    if (++this.#resends > resendsMax) this.#over("the guest does not answer any more");
    else if (this.#state === "opening") this.#transmit();
    else this.#sendFromAcknowledged();
  }

  #sendFromAcknowledged(): void {
    this.#next = this.#acknowledged;
    this.#repeatedAcks = 0;
    // A byte that the guest has got makes it say how far its window is open.
    if (this.#peerWindow === 0) this.#write(["ack"], this.#acknowledged - 1, Buffer.alloc(0));
    this.pump();
  }

  #transmit(): void {
    this.#write(["syn"], -1, Buffer.alloc(0), mssOwn);
    this.#resend = setTimeout(() => this.#sendAgain(), Math.min(resendMs * 2 ** this.#resends, resendMsMax));
  }

  #window(): number {
    return Math.max(0, windowBytesMax - this.#untaken);
  }

  /** Once for all that comes in one turn. */
  #acknowledgeSoon(): void {
    if (this.#ackDue) return;
    this.#ackDue = true;
    queueMicrotask(() => this.#flushAck());
  }

  #flushAck(): void {
    if (this.#ackDue && this.#state === "open") this.#acknowledge();
  }

  #acknowledge(): void {
    this.#write(["ack"], this.#sent, Buffer.alloc(0));
  }

  /** `from` counts from the first byte that was ever written. */
  #write(flags: readonly TcpFlag[], from: number, content: Buffer, mss?: number): void {
    const { own, guest, send } = this.#deps;
    this.#ackDue = false;
    this.#saidWindow = this.#window();
    const numbers = { sequence: this.#numberOf(from), acknowledged: this.#expected, window: this.#saidWindow };
    send(tcpFrame(own, guest, { ...numbers, flags, content, ...(mss === undefined ? {} : { mss }) }));
  }

  #numberOf(byte: number): number {
    return (this.#deps.sequence + 1 + byte) >>> 0;
  }

  #over(problem: string | undefined): void {
    if (this.#state === "over") return;
    // The guest lets go of it at once.
    if (problem !== undefined && this.#state === "open") this.#write(["rst", "ack"], this.#sent, Buffer.alloc(0));
    this.#state = "over";
    clearTimeout(this.#deadline);
    this.#progressed();
    this.#events.onOver(problem);
  }
}
