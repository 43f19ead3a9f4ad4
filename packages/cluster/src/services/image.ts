/** The image methods. The nodes that are to hold the blobs of an image look into them before it gets a name. */
import { BlixardError, errorCodeOf, fromUtf8, messageOf, notApplied, toBlixardError, toHex } from "@blixard/common";
import {
  type ImageRecord,
  imageHasDisk,
  limits,
  mainRoleOf,
  type ParsedRequestOf,
  type ResponseOf,
} from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { assertSpeaksFor } from "../calls/identify.ts";
import type { NodeParts } from "../node-parts.ts";
import { holdersOf, userOf } from "../state-machine/image.ts";
import { clusterLevel, needsLevel } from "../state-machine/level.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { pageOf } from "./page.ts";
import { refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type ImageParts = Pick<
  NodeParts,
  "clock" | "options" | "sha256" | "vmManager" | "stateMachine" | "proposals" | "peerCalls"
>;

/** From this level of the cluster on its nodes give disks to VMs that boot a kernel, and look into blobs when they are asked. */
const inspectionLevel = 3;
/** A node reads the tables of a disk, and no data. */
const inspectTimeoutMs = 20_000;
const collectTimeoutMs = 20_000;

type ImageMethods =
  | "image.list"
  | "image.get"
  | "image.put"
  | "image.remove"
  | "image.pin"
  | "image.collect"
  | "image.observe";

export function imageHandlers(parts: ImageParts): Pick<Handlers, ImageMethods> {
  return {
    "image.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      const images = [...state.images.values()].map((image) => ({ ...image, sources: holdersOf(state, image) }));
      return pageOf(images, asked, { keyOf: ({ name }) => name, index: version.value.appliedIndex });
    },
    "image.get": async ({ name }) => {
      const { state } = parts.stateMachine;
      const image = imageOf(parts, name);
      return { ...image, sources: holdersOf(state, image) };
    },
    "image.put": async (request, call) => {
      refuseIfMatch(call, "an image");
      const checked = await checkedImage(parts, request, call);
      const image: ImageRecord = { ...request, ...checked, builtin: false, createdUnixMs: parts.clock.unixMs() };
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
    "image.pin": async ({ name, pinned }, call) => {
      refuseIfMatch(call, "an image");
      const body = { type: "image.pin", name, pinned } as const;
      const { index, term, value } = await parts.proposals.propose<{ image: ImageRecord }>(body, call);
      return { index, term, image: value.image };
    },
    "image.collect": (request, call) => collect(parts, request, call),
    "image.observe": async (request, call) => {
      assertSpeaksFor(call, request.nodeId);
      const { index, term } = await parts.proposals.propose({ type: "image.observe", ...request }, call);
      return { index, term };
    },
  };
}

function imageOf(parts: Pick<ImageParts, "stateMachine">, name: string): ImageRecord {
  const image = parts.stateMachine.state.images.get(name);
  if (image !== undefined) return image;
  throw new BlixardError("IMAGE_NOT_FOUND", `there is no image ${name}`, { hint: "See: blixard image list" });
}

/** Its blobs and the nodes that hold them, as those nodes saw them. @throws what they refuse with */
async function checkedImage(
  parts: ImageParts,
  request: ParsedRequestOf<"image.put">,
  call: CallScope,
): Promise<Pick<ImageRecord, "blobs" | "sources">> {
  const { state } = parts.stateMachine;
  const { format, blobs, sources } = request;
  for (const source of sources) {
    if (!state.nodes.has(nodeKey(source))) throw notApplied("NODE_NOT_FOUND", `sources: there is no node ${source}`);
  }
  const roles = blobs.map(({ role }) => role);
  if (new Set(roles).size < roles.length) throw notApplied("INVALID_ARGUMENT", "blobs: two of them have one role");
  const main = mainRoleOf(format);
  if (!roles.includes(main)) throw notApplied("INVALID_ARGUMENT", `blobs: an image of this format needs a ${main}`);
  if (clusterLevel(state) < inspectionLevel) {
    // Members from before would boot the kernel, and leave the disk out.
    if (format !== "disk" && imageHasDisk(request)) throw needsLevel(state, inspectionLevel);
    return { blobs, sources };
  }
  const answers = await Promise.allSettled(sources.map((source) => inspectAt(parts, source, { format, blobs }, call)));
  const seen = answers.flatMap((answer, at) => (answer.status === "fulfilled" ? [{ at, ...answer.value }] : []));
  const [first] = seen;
  if (first === undefined) {
    const refusals = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as unknown] : []));
    const { code, message, hint } = toBlixardError(refusals[0], "UNAVAILABLE", "no node could look into the blobs");
    throw notApplied(code, message, hint === undefined ? {} : { hint });
  }
  return { blobs: first.blobs, sources: seen.map(({ at }) => sources[at] ?? 0) };
}

async function inspectAt(
  { options, vmManager, peerCalls }: ImageParts,
  nodeId: number,
  { format, blobs }: Pick<ImageRecord, "format" | "blobs">,
  { signal }: CallScope,
): Promise<Pick<ImageRecord, "blobs">> {
  if (nodeId === options.nodeId) return { blobs: await vmManager.images.inspect(format, blobs) };
  return await peerCalls.ask(nodeId, "blob.inspect", { format, blobs }, { timeoutMs: inspectTimeoutMs, signal });
}

async function collect(
  parts: ImageParts,
  { dryRun, unused, minAgeMs }: ParsedRequestOf<"image.collect">,
  call: CallScope,
): Promise<ResponseOf<"image.collect">> {
  const { stateMachine, clock, options } = parts;
  const { state } = stateMachine;
  if (clusterLevel(state) < inspectionLevel) throw needsLevel(state, inspectionLevel);
  const unusedImages = unused ? unusedSince(state, clock.unixMs() - minAgeMs) : [];
  let written = { index: stateMachine.version.value.appliedIndex, term: 0 };
  const images: string[] = [];
  for (const name of unusedImages) {
    const entry = dryRun ? written : await forget(parts, name, call);
    if (entry === undefined) continue;
    images.push(name);
    written = entry;
  }
  const asked = { index: written.index, minAgeMs, dryRun };
  const nodes = await Promise.all(
    sortedRecords(state, "nodes").map(async ({ id }) => {
      try {
        const { blobs } =
          id === options.nodeId
            ? await collectHere(parts, asked, call.signal)
            : await parts.peerCalls.ask(id, "blob.collect", asked, {
                timeoutMs: collectTimeoutMs,
                signal: call.signal,
              });
        return { nodeId: id, blobs, message: "" };
      } catch (error) {
        return { nodeId: id, blobs: [], message: messageOf(error) };
      }
    }),
  );
  return { ...written, images, nodes };
}

function unusedSince(state: ClusterState, beforeUnixMs: number): string[] {
  return sortedRecords(state, "images")
    .filter(({ name, builtin, pinned, createdUnixMs }) => {
      return !builtin && pinned !== true && createdUnixMs <= beforeUnixMs && userOf(state, name) === undefined;
    })
    .map(({ name }) => name);
}

/** Undefined for an image that a VM has got, or that somebody has pinned or removed, meanwhile. */
async function forget({ proposals, sha256 }: ImageParts, name: string, call: CallScope) {
  // One request makes several entries: each has an id of its own.
  const own = toHex(sha256(fromUtf8(name))).slice(0, 16);
  const requestId = `${call.meta.requestId.slice(0, limits.requestIdLengthMax / 2)}/${own}`;
  try {
    const { index, term } = await proposals.propose(
      { type: "image.remove", name },
      { ...call, meta: { ...call.meta, requestId } },
    );
    return { index, term };
  } catch (error) {
    if (["CONFLICT", "IMAGE_NOT_FOUND"].includes(errorCodeOf(error) ?? "")) return undefined;
    throw error;
  }
}

/** Lets the blobs of this node go that no image names. */
export async function collectHere(
  { stateMachine, vmManager }: Pick<ImageParts, "stateMachine" | "vmManager">,
  { index, minAgeMs, dryRun }: ParsedRequestOf<"blob.collect">,
  signal: AbortSignal,
): Promise<ResponseOf<"blob.collect">> {
  await stateMachine.version.until(({ appliedIndex }) => appliedIndex >= index, { signal });
  const named = () => {
    const all = [...stateMachine.state.images.values(), ...vmManager.builtinImages];
    return new Set(all.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)));
  };
  return { blobs: await vmManager.images.collect(named, { minAgeMs, dryRun, countMax: limits.blobsCollectedMax }) };
}
