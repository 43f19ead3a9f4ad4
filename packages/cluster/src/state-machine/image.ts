/** Commands of images. */
import { type CommandBodyOf, type ImageRecord, limits } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { sortedRecords } from "./state.ts";
import type { AppliersOf, ClusterState, Outcome } from "./types.ts";

export const imageAppliers: AppliersOf<"image"> = {
  "image.put": applyPut,
  "image.remove": applyRemove,
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
  return done({ image }, [{ table: "images", key: image.name, value: image }]);
}

function applyRemove(state: ClusterState, body: CommandBodyOf<"image.remove">): Outcome {
  const present = state.images.get(body.name);
  if (present === undefined)
    return refuse("IMAGE_NOT_FOUND", `there is no image ${body.name}`, "See: blixard image list");
  if (present.builtin) return refuse("CONFLICT", `${body.name} is a built-in image and stays`);
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

function userOf(state: ClusterState, image: string): string | undefined {
  return sortedRecords(state, "vms").find((vm) => vm.spec.image === image)?.name;
}

function sameContent(a: ImageRecord, b: ImageRecord): boolean {
  const content = (image: ImageRecord) =>
    JSON.stringify([
      image.format,
      image.commandLine,
      image.minMemoryMiB,
      image.blobs.map((blob) => [blob.role, blob.digest, blob.sizeBytes]),
    ]);
  return content(a) === content(b);
}
