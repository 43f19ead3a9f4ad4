/** The first frame each way on a Raft connection: who speaks, to whom, in which life of its process. */
import { BlixardError } from "@blixard/common";
import { decodeValue, encodeValue } from "@blixard/protocol";

export interface Hello {
  readonly nodeId: number;
  readonly toNodeId: number;
  /** Random for each start of a node: tells a peer that came back from one that dials once more. */
  readonly incarnation: number;
  /** Counts the connections that the dialler greeted on, so that the newest wins. Echoed by the side that accepts. */
  readonly sequence: number;
}

const helloVersion = 1;
const helloBytesMax = 256;

export function encodeHello(hello: Hello): Uint8Array {
  return encodeValue([helloVersion, hello.nodeId, hello.toNodeId, hello.incarnation, hello.sequence]);
}

/** @throws FRAME_CORRUPT, UNSUPPORTED_VERSION */
export function decodeHello(bytes: Uint8Array): Hello {
  const value = decodeValue(bytes, { bytesMax: helloBytesMax });
  if (!Array.isArray(value) || !value.every((item) => Number.isSafeInteger(item) && item >= 0)) {
    throw new BlixardError("FRAME_CORRUPT", "a hello is not in its form");
  }
  const [version, nodeId, toNodeId, incarnation, sequence] = value as (number | undefined)[];
  if (version !== helloVersion) {
    throw new BlixardError("UNSUPPORTED_VERSION", `hello version ${version} is not known`);
  }
  if (nodeId === undefined || toNodeId === undefined || incarnation === undefined || sequence === undefined) {
    throw new BlixardError("FRAME_CORRUPT", "a hello is not in its form");
  }
  return { nodeId, toNodeId, incarnation, sequence };
}
