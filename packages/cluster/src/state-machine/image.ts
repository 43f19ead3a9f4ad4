/** Commands of images. */
import { type CommandBodyOf, cdromImagesOf, type ImageRecord, limits, type VmSpec } from "@blixard/protocol";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { nodeKey, sortedRecords } from "./state.ts";
import type { AppliersOf, Change, ClusterState, Outcome } from "./types.ts";

export const imageAppliers: AppliersOf<"image"> = {
  "image.put": applyPut,
  "image.remove": applyRemove,
  "image.pin": applyPin,
  "image.observe": applyObserve,
};

/** Stores an image, or more sources for the same blobs. An image that a VM uses never changes its content. */
function applyPut(state: ClusterState, body: CommandBodyOf<"image.put">): Outcome {
  const { image } = body;
  const present = state.images.get(image.name);
  if (present !== undefined && !sameContent(present, image)) {
    if (present.builtin) return refuse("CONFLICT", `${image.name} is a built-in image`, "Choose another name.");
    const user = userOf(state, image.name);
    if (user !== undefined) {
      return refuse("CONFLICT", `the VM ${user} uses the image ${image.name}`, "Import it under another name.");
    }
  }
  if (present === undefined && state.images.size >= limits.imagesMax) {
    return refuse("CONFLICT", `there are ${limits.imagesMax} images already`, "Remove some: blixard image remove NAME");
  }
  return stored(present?.pinned === true ? { ...image, pinned: true } : image);
}

function applyRemove(state: ClusterState, body: CommandBodyOf<"image.remove">): Outcome {
  const present = state.images.get(body.name);
  if (present === undefined)
    return refuse("IMAGE_NOT_FOUND", `there is no image ${body.name}`, "See: blixard image list");
  if (present.builtin) return refuse("CONFLICT", `${body.name} is a built-in image and stays`);
  if (present.pinned === true) {
    return refuse("CONFLICT", `the image ${body.name} is pinned`, `Let it go first: blixard image unpin ${body.name}`);
  }
  const user = userOf(state, body.name);
  if (user !== undefined) {
    return refuse(
      "CONFLICT",
      `the VM ${user} uses the image ${body.name}`,
      `Delete it first: blixard vm delete ${user}`,
    );
  }
  return done(null, [{ table: "images", key: body.name, value: undefined }]);
}

function applyPin(state: ClusterState, { name, pinned }: CommandBodyOf<"image.pin">): Outcome {
  const present = state.images.get(name);
  if (present === undefined) return refuse("IMAGE_NOT_FOUND", `there is no image ${name}`, "See: blixard image list");
  if (present.builtin) return refuse("CONFLICT", `${name} is a built-in image and stays`);
  const { pinned: before = false, ...rest } = present;
  if (before === pinned) return done({ image: present });
  return stored(pinned ? { ...rest, pinned } : rest);
}

/** A node speaks of itself alone. What it says of an image that it does not know yet, or of a removed one, is void. */
function applyObserve(state: ClusterState, { nodeId, held, lost }: CommandBodyOf<"image.observe">): Outcome {
  if (!state.nodes.has(nodeKey(nodeId))) return nodeNotFound(nodeId);
  const changes: Change[] = [];
  for (const name of [...new Set([...held, ...lost])]) {
    const image = state.images.get(name);
    if (image === undefined || image.builtin || image.sources.includes(nodeId) === held.includes(name)) continue;
    const others = holdersOf(state, image).filter((id) => id !== nodeId);
    const sources = held.includes(name) ? [...others, nodeId].sort((a, b) => a - b) : others;
    changes.push({ table: "images", key: name, value: { ...image, sources } });
  }
  return done({ accepted: changes.length }, changes);
}

/** The members that hold all of an image. */
export function holdersOf(state: ClusterState, { sources }: Pick<ImageRecord, "sources">): number[] {
  return sources.filter((id) => state.nodes.has(nodeKey(id)));
}

function stored(image: ImageRecord): Outcome {
  return done({ image }, [{ table: "images", key: image.name, value: image }]);
}

export function userOf(state: ClusterState, image: string): string | undefined {
  return sortedRecords(state, "vms").find(({ spec }) => spec.image === image || cdromImagesOf(spec).includes(image))
    ?.name;
}

/** Why what is to lie in the drives of a VM cannot; undefined when it can. */
export function cdromsRefusal(state: Pick<ClusterState, "images">, spec: VmSpec): Outcome | undefined {
  for (const name of cdromImagesOf(spec)) {
    const image = state.images.get(name);
    if (image === undefined) {
      return refuse("IMAGE_NOT_FOUND", `there is no image ${name}`, "See: blixard image list");
    }
    if (image.format !== "iso") {
      const message = `spec.cdroms: the image ${name} is of the format ${image.format}, and a CD-ROM drive takes iso`;
      return refuse("INVALID_ARGUMENT", message);
    }
  }
  return undefined;
}

function sameContent(a: ImageRecord, b: ImageRecord): boolean {
  const content = (image: ImageRecord) =>
    JSON.stringify([
      image.format,
      image.commandLine,
      image.minMemoryMiB,
      image.blobs.map((blob) => [blob.role, blob.digest, blob.sizeBytes]),
    ]);
  return content(a) === content(b) && a.blobs.every((blob, at) => sameFormat(blob.format, b.blobs[at]?.format));
}

/** Records of before level 3 say nothing of it. */
function sameFormat(a: string | undefined, b: string | undefined): boolean {
  return a === undefined || b === undefined || a === b;
}
