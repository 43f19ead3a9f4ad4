/** Small structured payloads in MessagePack: plain objects, no extensions, so that any decoder reads them. */
import type { AppliedState } from "@blixard/raft";
import { Packr } from "msgpackr";
import { corrupt } from "./record.ts";

const packr = new Packr({ useRecords: false, variableMapSize: true });

export function pack(value: unknown): Buffer {
  return packr.pack(value);
}

/** Decodes what {@link pack} made. @throws STORAGE_CORRUPT */
export function unpack<T>(payload: Uint8Array, what: string): T {
  try {
    return packr.unpack(payload) as T;
  } catch (error) {
    throw corrupt(`${what} cannot be decoded`, error);
  }
}

/** Keeps the known fields in a fixed order, so that equal values have equal bytes. */
export function plainApplied({ index, term, confState }: AppliedState): AppliedState {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = confState;
  return { index, term, confState: { voters, votersOutgoing, learners, learnersNext, autoLeave } };
}
