/**
 * Asks a port of a guest whether somebody answers, from the switch and so from inside the network of the guest: nothing of this
 * machine has to listen for that, and nothing else reaches the guest by it.
 *
 *   opening --SYN+ACK--> (tcp: answered) --question--> asking --status line--> answered
 *   any --RST--> refused      any --deadline--> silent
 *
 * The guest is asked for one line, so one connection takes and keeps little, whatever the guest sends.
 */
import type { Ipv4End } from "../ipv4-frame.ts";
import { type ReceivedSegment, type TcpFlag, tcpFrame } from "../tcp/tcp-segment.ts";

export type ProbeAsk =
  | { readonly type: "tcp"; readonly port: number }
  | { readonly type: "http"; readonly port: number; readonly path: string };

/** `problem`: what is wrong with the guest; undefined when nothing is. */
export interface ProbeAnswer {
  readonly problem?: string;
}

const resendMs = 400;
const lineBytesMax = 1_024;

export interface ProbeDeps {
  readonly send: (frame: Buffer) => void;
  readonly own: Ipv4End;
  readonly guest: Ipv4End;
  /** Of the first byte, by chance. */
  readonly sequence: number;
  /** What the guest is named in the question. */
  readonly host: string;
}

export class GuestProbe {
  readonly answer: Promise<ProbeAnswer>;
  readonly #ask: ProbeAsk;
  readonly #deps: ProbeDeps;
  readonly #question: Buffer;
  readonly #resend: NodeJS.Timeout;
  readonly #deadline: NodeJS.Timeout;
  #resolve: (answer: ProbeAnswer) => void = () => {};
  #state: "opening" | "asking" | "over" = "opening";
  #received = 0;
  #line = "";

  constructor(ask: ProbeAsk, timeoutMs: number, deps: ProbeDeps) {
    this.#ask = ask;
    this.#deps = deps;
    const lines = ask.type === "tcp" ? [] : [`GET ${ask.path} HTTP/1.1`, `Host: ${deps.host}`, ...headers, "", ""];
    this.#question = Buffer.from(lines.join("\r\n"), "latin1");
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#resend = setInterval(() => this.#transmit(), resendMs);
    this.#deadline = setTimeout(() => {
      const where = this.#state === "opening" ? "nobody answers" : "it is connected and says nothing";
      this.#end(`${where} within ${timeoutMs} ms`);
    }, timeoutMs);
    this.#transmit();
  }

  /** The port is closed. */
  cancel(): void {
    this.#end("its network card has gone");
  }

  receive({ flags, sequence, acknowledged, content }: ReceivedSegment): void {
    if (this.#state === "over") return;
    if (flags.includes("rst")) {
      this.#end(this.#state === "opening" ? "the connection is refused" : "the connection is reset");
    } else if (this.#state === "opening") {
      if (!flags.includes("syn") || acknowledged !== (this.#deps.sequence + 1) >>> 0) return;
      this.#received = (sequence + 1) >>> 0;
      if (this.#ask.type === "tcp") this.#end(undefined);
      else {
        this.#state = "asking";
        this.#transmit();
      }
    } else this.#read(sequence, content, flags.includes("fin"));
  }

  #read(sequence: number, content: Buffer, ends: boolean): void {
    // What comes out of order comes again.
    if (sequence !== this.#received || (content.length === 0 && !ends)) return;
    this.#received = (this.#received + content.length) >>> 0;
    this.#line = (this.#line + content.toString("latin1")).slice(0, lineBytesMax);
    const end = this.#line.indexOf("\n");
    if (end >= 0 || this.#line.length === lineBytesMax) this.#end(problemOf(this.#line.slice(0, end).trim()));
    else if (ends) this.#end("the connection ends without an answer");
    else this.#write(["ack"], this.#question.length);
  }

  /** All that was sent and may be lost. */
  #transmit(): void {
    if (this.#state === "opening") this.#write(["syn"], -1);
    else if (this.#state === "asking") this.#write(["ack", "psh"], 0, this.#question);
  }

  /** `offset` counts from the first byte of the question. */
  #write(flags: readonly TcpFlag[], offset: number, content: Buffer = Buffer.alloc(0)): void {
    const { own, guest, sequence, send } = this.#deps;
    send(tcpFrame(own, guest, { sequence: sequence + 1 + offset, acknowledged: this.#received, flags, content }));
  }

  #end(problem: string | undefined): void {
    if (this.#state === "over") return;
    // Nothing more is wanted: the guest lets go of the connection at once.
    if (this.#received !== 0) this.#write(["rst", "ack"], this.#state === "asking" ? this.#question.length : 0);
    this.#state = "over";
    clearInterval(this.#resend);
    clearTimeout(this.#deadline);
    this.#resolve(problem === undefined ? {} : { problem });
  }
}

const headers = ["User-Agent: blixard-health", "Accept: */*", "Connection: close"];

/** Undefined for the status line of an answer of 200 to 399 (RFC 9112, 4). */
function problemOf(line: string): string | undefined {
  const status = /^HTTP\/1\.[01] (\d{3})( |$)/.exec(line)?.[1];
  if (status === undefined) return "the answer is not HTTP";
  return status >= "200" && status < "400" ? undefined : `the answer is ${status}`;
}
