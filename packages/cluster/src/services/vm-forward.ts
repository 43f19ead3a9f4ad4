/** Connections into a guest, and its network cards, on the node that runs it. Who opened which is told in the log of that node. */
import { abortReason, notApplied, onAbort } from "@blixard/common";
import { forwardNetworkOf, networksOf, type StreamOutputOf, type VmRecord } from "@blixard/protocol";
import type { GuestStream } from "@blixard/vm-manager";
import type { Handlers, StreamHandlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { vmOf } from "./vm.ts";

/** What these methods use of the node. */
type ForwardParts = Pick<NodeParts, "logger" | "vmManager" | "stateMachine">;

type Piece = StreamOutputOf<"vm.forward">;

export function vmForwardStreams({ logger, ...parts }: ForwardParts): Pick<StreamHandlers, "vm.forward"> {
  return {
    "vm.forward": async ({ name, port, network: asked }, { meta, signal }, input) => {
      const vm = vmOf(parts, name);
      const network = networkOf(vm, asked);
      const guest = await parts.vmManager.connectGuest(vm.vmId, { port, network }, signal);
      onAbort(signal, () => guest.close());
      const about = { vm: name, port, network, actor: meta.actor };
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

/** @throws INVALID_ARGUMENT */
function networkOf({ name, spec }: VmRecord, asked: string | undefined): string {
  const network = forwardNetworkOf(spec, asked);
  if (network !== undefined) return network;
  const which = asked === undefined ? "any network" : `the network ${asked}`;
  const names = networksOf(spec).map((each) => each.network);
  throw notApplied("INVALID_ARGUMENT", `the VM ${name} is not in ${which}`, {
    hint: names.length === 0 ? "A VM that is to be reached needs a network card." : `It is in: ${names.join(", ")}.`,
  });
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
