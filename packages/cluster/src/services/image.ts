/** The image methods. */
import { BlixardError, notApplied } from "@blixard/common";
import { type ImageRecord, imageHasDisk } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { clusterLevel, needsLevel } from "../state-machine/level.ts";
import { nodeKey } from "../state-machine/state.ts";
import { BlobUploads } from "./blob-uploads.ts";
import { pageOf } from "./page.ts";
import { refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type ImageParts = Pick<NodeParts, "clock" | "options" | "vmManager" | "stateMachine" | "proposals">;

/** From this level of the cluster on its nodes give disks to VMs that boot a kernel. */
const disksLevel = 3;

type ImageMethods = "image.list" | "image.get" | "image.put" | "image.remove" | "blob.write";

export function imageHandlers(parts: ImageParts): Pick<Handlers, ImageMethods> {
  const uploads = new BlobUploads(parts.clock, (chunks) => parts.vmManager.images.put(chunks));
  return {
    "image.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      return pageOf(state.images.values(), asked, { keyOf: ({ name }) => name, index: version.value.appliedIndex });
    },
    "image.get": async ({ name }) => {
      const image = parts.stateMachine.state.images.get(name);
      if (image === undefined)
        throw new BlixardError("IMAGE_NOT_FOUND", `there is no image ${name}`, { hint: "See: blixard image list" });
      return image;
    },
    "image.put": async (request, call) => {
      refuseIfMatch(call, "an image");
      const { state } = parts.stateMachine;
      // Members from before would boot the kernel, and leave the disk out.
      if (request.format !== "disk" && imageHasDisk(request) && clusterLevel(state) < disksLevel) {
        throw needsLevel(state, disksLevel);
      }
      for (const source of request.sources) {
        if (state.nodes.has(nodeKey(source))) continue;
        const message = `sources: there is no node ${source}`;
        throw notApplied("NODE_NOT_FOUND", message);
      }
      const image: ImageRecord = { ...request, builtin: false, createdUnixMs: parts.clock.unixMs() };
      const { index, term, value } = await parts.proposals.propose<{ image: ImageRecord }>(
        { type: "image.put", image },
        call,
      );
      return { index, term, image: value.image };
    },
    "image.remove": async ({ name }, call) => {
      refuseIfMatch(call, "an image");
      const { index, term } = await parts.proposals.propose({ type: "image.remove", name }, call);
      return { index, term };
    },
    "blob.write": async (piece, { meta }) => ({
      ...(await uploads.write(`${meta.actor.kind}/${meta.actor.id}`, piece)),
      nodeId: parts.options.nodeId,
    }),
  };
}
