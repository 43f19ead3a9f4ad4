/**
 * The serial console of a VM: a websocket for whoever may type, and reads for whoever may only look. It comes back by itself,
 * ever later, as long as it is open.
 */
import { consoleUrl, readConsole } from "./api.ts";
import { shownError } from "./api-error.ts";
import { mayCall, tokenOf } from "./session.ts";

export interface ConsoleEvents {
  /** Output begins anew. */
  onBegin(): void;
  onBytes(bytes: Uint8Array): void;
  /** Why there is no output; empty while there is. */
  onState(text: string): void;
}

const againMsMin = 1_000;
const againMsMax = 30_000;
/** As much as the node shows of what was before. */
const backlogBytes = 16_384;
/** Input that was not sent yet. */
const pendingBytesMax = 64 * 1024;

export class ConsoleLink {
  readonly #name: string;
  readonly #events: ConsoleEvents;
  #socket: WebSocket | undefined;
  #isClosed = false;
  #againMs = againMsMin;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, events: ConsoleEvents) {
    this.#name = name;
    this.#events = events;
    this.#open();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  /** False when it cannot be sent. */
  send(text: string): boolean {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > pendingBytesMax) return false;
    socket.send(new TextEncoder().encode(text));
    return true;
  }

  #open(): void {
    this.#events.onState("connecting …");
    if (mayCall("vm.consoleWrite")) this.#openSocket();
    else this.#follow().catch((error: unknown) => this.#again(shownError(error).message));
  }

  #openSocket(): void {
    // A browser sets no headers here: the token goes as a protocol, which no log of an address has.
    const socket = new WebSocket(consoleUrl(this.#name), ["blixard.console", `bearer.${tokenOf()}`]);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#begin();
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#events.onBytes(new Uint8Array(data));
    };
    socket.onclose = ({ reason }) => this.#again(reason || "the console is not open");
  }

  async #follow(): Promise<void> {
    let offset = -backlogBytes;
    for (let isFirst = true; !this.#isClosed; isFirst = false) {
      const { data, endOffset } = await readConsole(tokenOf(), this.#name, offset);
      if (this.#isClosed) return;
      if (isFirst) this.#begin();
      this.#events.onBytes(data);
      offset = endOffset;
    }
  }

  #begin(): void {
    this.#againMs = againMsMin;
    this.#events.onBegin();
    this.#events.onState("");
  }

  #again(why: string): void {
    if (this.#isClosed) return;
    this.#events.onState(why);
    this.#timer = setTimeout(() => (document.hidden ? this.#again(why) : this.#open()), this.#againMs);
    this.#againMs = Math.min(againMsMax, 2 * this.#againMs);
  }
}
