/** What is on volumes, in pieces: read from the node that has one, and written to one that is being imported. */
import { notApplied } from "@blixard/common";
import type { ParsedRequestOf, ResponseOf, VolumeRecord } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { runningUser } from "../state-machine/volume.ts";
import { volumeOf } from "./volume.ts";

/** What these methods use of the node. */
type VolumeBytesParts = Pick<NodeParts, "vmManager" | "stateMachine">;

const gibibyte = 1024 ** 3;

export function volumeBytesHandlers(parts: VolumeBytesParts): Pick<Handlers, "volume.read" | "volume.write"> {
  return {
    "volume.read": (request) => read(parts, request),
    "volume.write": (request) => write(parts, request),
  };
}

async function read(
  parts: VolumeBytesParts,
  { name, offset, bytesMax }: ParsedRequestOf<"volume.read">,
): Promise<ResponseOf<"volume.read">> {
  const { state } = parts.stateMachine;
  const volume = volumeOf(parts, name);
  assertThere(volume);
  const user = runningUser(state, volume);
  if (user !== undefined) {
    throw notApplied("CONFLICT", `the VM ${user} runs with the volume ${name}, and changes it`, {
      hint: `Stop the VM, or detach the volume: blixard vm stop ${user}; blixard volume detach ${name}`,
    });
  }
  const { data, ...place } = await parts.vmManager.volumeBytes.read(volume.volumeId, { offset, bytesMax });
  return { ...place, data: Buffer.from(data).toString("base64") };
}

/** @throws CONFLICT */
function assertThere({ name, state, madeGiB }: VolumeRecord): void {
  if (state !== "missing" && state !== "deleting" && madeGiB > 0) return;
  throw notApplied("CONFLICT", `the volume ${name} is ${state}`, { hint: `See: blixard volume get ${name}` });
}

async function write(
  parts: VolumeBytesParts,
  { name, offset, data, last }: ParsedRequestOf<"volume.write">,
): Promise<ResponseOf<"volume.write">> {
  const { volumeId, sizeGiB, importDigest, state } = volumeOf(parts, name);
  if (importDigest === undefined || state === "deleting") {
    const why = state === "deleting" ? "is being deleted" : "is not being imported, or not any more";
    throw notApplied("CONFLICT", `the volume ${name} ${why}`, { hint: `See: blixard volume get ${name}` });
  }
  const { volumeBytes } = parts.vmManager;
  const sizeBytes = sizeGiB * gibibyte;
  const bytes = new Uint8Array(Buffer.from(data, "base64"));
  const storedBytes = await volumeBytes.write(volumeId, { offset, data: bytes, sizeBytes });
  if (last) await volumeBytes.finish(volumeId, { digest: importDigest, sizeBytes });
  return { storedBytes };
}
