/** Connections into a guest, and its network cards, on the node that runs it. Who opened which is told in the log of that node. */
import { abortReason, onAbort } from "@blixard/common";
import type { StreamOutputOf } from "@blixard/protocol";
import type { GuestStream } from "@blixard/vm-manager";
import type { Handlers, StreamHandlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { vmOf } from "./vm.ts";

/** What these methods use of the node. */
type ForwardParts = Pick<NodeParts, "logger" | "vmManager" | "stateMachine">;

type Piece = StreamOutputOf<"vm.forward">;

export function vmForwardStreams({ logger, ...parts }: ForwardParts): Pick<StreamHandlers, "vm.forward"> {
  return {
    "vm.forward": async ({ name, port }, { meta, signal }, input) => {
      const guest = await parts.vmManager.connectGuest(vmOf(parts, name).vmId, port, signal);
      onAbort(signal, () => guest.close());
      const about = { vm: name, port, actor: meta.actor };
      logger.log("info", "a connection into a VM is opened", about);
      return carried(guest, input, signal, (bytes) =>
        logger.log("info", "a connection into a VM has ended", { ...about, ...bytes }),
      );
    },
  };
}

export function vmNetworkStateHandlers(
  parts: Pick<NodeParts, "vmManager" | "stateMachine">,
): Pick<Handlers, "vm.networkState"> {
  return {
    "vm.networkState": async ({ name }) => {
      const { vmId } = vmOf(parts, name);
      return { cards: [...(await parts.vmManager.networkStateOf(vmId))] };
    },
  };
}

interface CarriedBytes {
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Both ways at once, until both sides have ended, or one is gone. */
async function* carried(
  guest: GuestStream,
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  onEnd: (bytes: CarriedBytes) => void,
): AsyncGenerator<Piece> {
  let bytesIn = 0;
  let bytesOut = 0;
  const takeInput = async () => {
    for await (const data of input) {
      await guest.write(data);
      bytesIn += data.length;
    }
    guest.end();
  };
  const aborted = new Promise<never>((_, reject) => onAbort(signal, () => reject(abortReason(signal))));
  const inputTaken = Promise.race([takeInput(), aborted]);
  // What cannot go on in one direction ends the other.
  inputTaken.catch(() => guest.close());
  try {
    for await (const data of guest.output) {
      bytesOut += data.length;
      yield { data, ended: false };
    }
    yield { data: new Uint8Array(0), ended: true };
    await inputTaken;
  } finally {
    guest.close();
    onEnd({ bytesIn, bytesOut });
  }
}
