/** The image methods. */
import { BlixardError } from "@blixard/common";
import type { ImageRecord } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { BlobUploads } from "./blob-uploads.ts";
import { propose } from "./propose.ts";
import { refuseIfMatch, type ServiceContext } from "./service-context.ts";

type ImageMethods = "image.list" | "image.get" | "image.put" | "image.remove" | "blob.write";

export function imageHandlers(context: ServiceContext): Pick<Handlers, ImageMethods> {
  const uploads = new BlobUploads(context.clock, (chunks) => context.vmManager.images.put(chunks));
  return {
    "image.list": async () => ({ items: sortedRecords(context.stateMachine.state, "images") }),
    "image.get": async ({ name }) => {
      const image = context.stateMachine.state.images.get(name);
      if (image === undefined)
        throw new BlixardError("IMAGE_NOT_FOUND", `there is no image ${name}`, { hint: "See: blixard image list" });
      return image;
    },
    "image.put": async (request, call) => {
      refuseIfMatch(call, "an image");
      for (const source of request.sources) {
        if (context.stateMachine.state.nodes.has(nodeKey(source))) continue;
        const message = `sources: there is no node ${source}`;
        throw new BlixardError("NODE_NOT_FOUND", message, { outcome: "not_applied" });
      }
      const image: ImageRecord = { ...request, builtin: false, createdUnixMs: context.clock.unixMs() };
      const { index, term, value } = await propose<{ image: ImageRecord }>(context, { type: "image.put", image }, call);
      return { index, term, image: value.image };
    },
    "image.remove": async ({ name }, call) => {
      refuseIfMatch(call, "an image");
      const { index, term } = await propose(context, { type: "image.remove", name }, call);
      return { index, term };
    },
    "blob.write": async (piece, { meta }) => ({
      ...(await uploads.write(`${meta.actor.kind}/${meta.actor.id}`, piece)),
      nodeId: context.options.nodeId,
    }),
  };
}
