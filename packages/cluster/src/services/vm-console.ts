/** The streams of a VM's serial console, on the node that runs it. */
import { assertAtMost, BlixardError, fromUtf8, linkSignal } from "@blixard/common";
import { limits, type StreamOutputOf } from "@blixard/protocol";
import type { StreamHandlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { vmOf } from "./vm.ts";

/** What these methods use of the node. */
type ConsoleParts = Pick<NodeParts, "options" | "vmManager" | "stateMachine">;

type Piece = StreamOutputOf<"vm.logs">;

const pieceBytesMax = 32 * 1024;
assertAtMost({ pieceBytesMax }, { consoleReadBytesMax: limits.consoleReadBytesMax }, "a piece is one read");
/** Interval of checking that the VM is still on this node, while its console is silent. */
const ownerCheckMs = 2_000;

export function consoleStreams(parts: ConsoleParts): Pick<StreamHandlers, "vm.console" | "vm.logs"> {
  return {
    "vm.logs": async ({ name, offset }, { signal }) => {
      const output = new ConsoleOutput(parts, name, offset, signal);
      return output.from(await output.read(0));
    },
    "vm.console": async ({ name, offset }, { signal }, input) => {
      const output = new ConsoleOutput(parts, name, offset, signal);
      const first = await output.read(0);
      const { vmId } = vmOf(parts, name);
      return withInput(output, first, async () => {
        for await (const data of input) await parts.vmManager.writeConsole(vmId, data);
      });
    },
  };
}

class ConsoleOutput {
  readonly #parts: ConsoleParts;
  readonly #name: string;
  readonly #vmId: string;
  readonly #signal: AbortSignal;
  #offset: number;
  #wake: ((reason?: unknown) => void) | undefined;

  constructor(parts: ConsoleParts, name: string, offset: number, signal: AbortSignal) {
    this.#parts = parts;
    this.#name = name;
    this.#vmId = vmOf(parts, name).vmId;
    this.#offset = offset;
    this.#signal = signal;
  }

  /** Returns the next piece, or an empty one after `waitMs` or a `wake`. @throws UNAVAILABLE when the VM has moved */
  async read(waitMs: number): Promise<Piece> {
    const vm = vmOf(this.#parts, this.#name);
    if (vm.vmId !== this.#vmId || vm.node !== this.#parts.options.nodeId) {
      throw new BlixardError("UNAVAILABLE", `the VM ${this.#name} is not on this node any more`);
    }
    const link = linkSignal(this.#signal);
    this.#wake = link.abort;
    try {
      const options = { offset: this.#offset, bytesMax: pieceBytesMax, waitMs, signal: link.signal };
      const { offset, data } = await this.#parts.vmManager.readConsole(this.#vmId, options);
      this.#offset = offset + data.length;
      return { offset, data };
    } catch (error) {
      if (this.#signal.aborted || !link.signal.aborted) throw error;
      return { offset: this.#offset, data: fromUtf8("") };
    } finally {
      link.release();
    }
  }

  /** Ends the read that waits now, if any. */
  wake(): void {
    this.#wake?.();
  }

  async *from(first: Piece): AsyncGenerator<Piece> {
    for (let piece = first; ; piece = await this.read(ownerCheckMs)) if (piece.data.length > 0) yield piece;
  }
}

async function* withInput(
  output: ConsoleOutput,
  first: Piece,
  writeAll: () => Promise<void>,
): AsyncGenerator<StreamOutputOf<"vm.console">> {
  let written: { readonly error?: unknown } | undefined;
  let endReported = false;
  void writeAll()
    .then(
      () => {
        written = {};
      },
      (error: unknown) => {
        written = { error };
      },
    )
    .then(() => output.wake());
  for (let piece = first; ; piece = await output.read(written !== undefined && !endReported ? 0 : ownerCheckMs)) {
    if (written !== undefined && "error" in written) throw written.error;
    const inputEnded: boolean = written !== undefined && !endReported;
    endReported ||= inputEnded;
    if (piece.data.length > 0 || inputEnded) yield { ...piece, inputEnded };
  }
}
