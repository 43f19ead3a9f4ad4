/** Sends one part to a node. What the node has of it already is not sent again, whenever that was sent. */
import type { BlixardClient } from "@blixard/client";
import { BlixardError, errorCodeOf, errorCodes, isBlixardError } from "@blixard/common";
import { type CliContext, say } from "../cli-context.ts";
import { withAttempts } from "./attempts.ts";
import type { Part } from "./parts.ts";
import { Progress } from "./progress.ts";

export const attemptsMax = 8;

export interface Stored {
  readonly nodeId: number;
  readonly sizeBytes: number;
}

/** @throws what the node refuses with; UNAVAILABLE, UNREACHABLE when it stays away */
export async function upload(context: CliContext, client: BlixardClient, part: Part, digest: string): Promise<Stored> {
  try {
    return await withAttempts(context, { attemptsMax, mayPass }, () => uploadRest(context, client, part, digest));
  } catch (error) {
    throw withHint(error);
  }
}

async function uploadRest(context: CliContext, client: BlixardClient, part: Part, digest: string): Promise<Stored> {
  const { signal } = context;
  const { sizeBytes, role, from, raw } = part;
  const known = await client.images.statBlob(digest, { signal }).catch((error: unknown) => {
    // A cluster of before does not know what is asked: it gets all of it at once.
    if (!["NEEDS_UPGRADE", "UNSUPPORTED", "NOT_FOUND"].includes(errorCodeOf(error) ?? "")) throw error;
    return undefined;
  });
  if (known?.isWhole === true) {
    say(context, `node ${known.nodeId} has ${role} ${from} already`);
    return { nodeId: known.nodeId, sizeBytes };
  }
  const offset = Math.min(known?.storedBytes ?? 0, sizeBytes);
  say(context, offset > 0 ? `uploading ${role} ${from}, from byte ${offset} on` : `uploading ${role} ${from}`);
  const progress = new Progress(context, `uploading ${role}`, sizeBytes, offset);
  const pieces = counted(part.pieces(offset), offset, progress);
  const promise = known === undefined ? {} : { digest, sizeBytes, offset, ...(raw ? { raw } : {}) };
  const stored = await client.images.uploadBlob(pieces, { ...promise, signal }).finally(() => progress.end());
  await part.source.assertUnchanged();
  if (stored.digest !== digest) {
    throw new BlixardError("INVALID_ARGUMENT", `${from} was changed while it was sent`, { hint: "Import it again." });
  }
  return { nodeId: stored.nodeId, sizeBytes };
}

async function* counted(pieces: AsyncIterable<Uint8Array>, offset: number, progress: Progress) {
  let bytes = offset;
  for await (const piece of pieces) {
    yield piece;
    bytes += piece.length;
    progress.at(bytes);
  }
}

/** A conflict: the node has not noticed yet that the last attempt broke off, or has come further than it said. */
export function mayPass(error: unknown): boolean {
  const code = errorCodeOf(error);
  return code === "CONFLICT" || (isBlixardError(error) && errorCodes[error.code].retryable);
}

export function withHint(error: unknown): unknown {
  if (!isBlixardError(error) || !mayPass(error)) return error;
  return new BlixardError(error.code, error.message, {
    cause: error,
    hint: "The same command goes on where this one stopped.",
  });
}
