/** The first frame in each direction of a Raft connection: it names the sender, the receiver, and the start of the sender. */
import { BlixardError } from "@blixard/common";
import { decodeValue, encodeValue, unsupported } from "@blixard/protocol";
import type { NodeStart, SeenStart } from "./node-start.ts";

export interface Hello {
  readonly nodeId: number;
  readonly toNodeId: number;
  /** Random for each process. It tells a peer that was started again from one that dials once more. */
  readonly instance: number;
  /** Counts the connections that the dialler greeted on, so that the newest wins. Echoed by the side that accepts. */
  readonly sequence: number;
  /** Absent from a node that does not count its starts. */
  readonly start?: NodeStart;
  /** The newest start of the receiver that the sender knows. A receiver that is an older start ends itself. */
  readonly known?: SeenStart;
  /** The bits of {@link helloCapability} that the sender has. Older releases send none. */
  readonly capabilities?: number;
}

/** What a side can read beyond version 1 of all formats. A bit never gets a second meaning; unknown bits are ignored. */
export const helloCapability = {
  /** Frames deflated with the dictionary of `frame-dictionary.ts`. */
  frameDictionary: 1,
} as const;

export const ownCapabilities: number = helloCapability.frameDictionary;

const helloVersion = 1;
const helloBytesMax = 256;

export function encodeHello(hello: Hello): Uint8Array {
  const { nodeId, toNodeId, instance, sequence, start, known, capabilities = 0 } = hello;
  const fields = [helloVersion, nodeId, toNodeId, instance, sequence];
  // Older releases read the first five and leave the rest; 0 stands for what is not known.
  fields.push(start?.incarnation ?? 0, start?.starts ?? 0);
  fields.push(known?.incarnation ?? 0, known?.starts ?? 0, known?.instance ?? 0);
  if (capabilities !== 0) fields.push(capabilities);
  return encodeValue(fields);
}

/** @throws FRAME_CORRUPT, UNSUPPORTED_VERSION */
export function decodeHello(bytes: Uint8Array): Hello {
  const value = decodeValue(bytes, { bytesMax: helloBytesMax });
  // A later version may have another form behind its number.
  const version: unknown = Array.isArray(value) ? value[0] : undefined;
  if (typeof version === "number" && version > helloVersion) throw unsupported(`hello version ${version}`);
  if (!Array.isArray(value) || !value.every((item) => Number.isSafeInteger(item) && item >= 0)) {
    throw new BlixardError("FRAME_CORRUPT", "a hello is not in its form");
  }
  const [, nodeId, toNodeId, instance, sequence, ...more] = value as (number | undefined)[];
  if (
    version !== helloVersion ||
    nodeId === undefined ||
    toNodeId === undefined ||
    instance === undefined ||
    sequence === undefined
  ) {
    throw new BlixardError("FRAME_CORRUPT", "a hello is not in its form");
  }
  const [admitted = 0, starts = 0, knownAdmitted = 0, knownStarts = 0, knownInstance = 0, capabilities = 0] = more;
  return {
    nodeId,
    toNodeId,
    instance,
    sequence,
    ...(admitted === 0 ? {} : { start: { incarnation: admitted, starts } }),
    ...(knownAdmitted === 0
      ? {}
      : { known: { incarnation: knownAdmitted, starts: knownStarts, instance: knownInstance } }),
    ...(capabilities === 0 ? {} : { capabilities }),
  };
}
