/** Which images a node says that it holds, and which it fetches so that enough nodes hold them: pure functions. */
import type { ImageRecord } from "@blixard/protocol";
import { holdersOf } from "../state-machine/image.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";

/** So many nodes hold an image, where there are so many. */
export const imageCopiesMin = 2;
/** From this level of the cluster on nodes say what they hold. */
const observeLevel = 3;

export interface ImageNews {
  readonly held: string[];
  readonly lost: string[];
}

/** What the state does not show yet of the images that `nodeId` holds. */
export function imageNews(state: ClusterState, nodeId: number, heldDigests: ReadonlySet<string>): ImageNews {
  const news: ImageNews = { held: [], lost: [] };
  if (clusterLevel(state) < observeLevel) return news;
  for (const image of storedImages(state)) {
    const holds = holdsAll(image, heldDigests);
    if (holds === image.sources.includes(nodeId)) continue;
    (holds ? news.held : news.lost).push(image.name);
  }
  return news;
}

/**
 * The images that `nodeId` has to fetch. Each node chooses alike, by a number that it makes of image and node, among those
 * that can have it; where two of them see others as reachable, there is one copy more, and not one less.
 */
export function imagesToFetch(
  state: ClusterState,
  nodeId: number,
  heldDigests: ReadonlySet<string>,
  isReachable: (nodeId: number) => boolean,
): { readonly chosen: ImageRecord[]; readonly isShort: boolean } {
  const keeps = sortedRecords(state, "nodes").filter(
    ({ role, leaving }) => (role === "voter" || role === "worker") && !leaving,
  );
  const chosen: ImageRecord[] = [];
  let isShort = false;
  if (clusterLevel(state) < observeLevel) return { chosen, isShort };
  for (const image of storedImages(state)) {
    const sources = holdersOf(state, image);
    const lasting = keeps.filter(({ id }) => sources.includes(id)).length;
    if (sources.length === 0 || lasting >= imageCopiesMin || sources.includes(nodeId)) continue;
    isShort = true;
    const next = keeps
      .filter(({ id, cordoned }) => !sources.includes(id) && !cordoned && (id === nodeId || isReachable(id)))
      .map(({ id }) => ({ id, turn: turnOf(image.name, id) }))
      .sort((a, b) => a.turn - b.turn || a.id - b.id)
      .slice(0, imageCopiesMin - lasting);
    if (next.some(({ id }) => id === nodeId) && !holdsAll(image, heldDigests)) chosen.push({ ...image, sources });
  }
  return { chosen, isShort };
}

function storedImages(state: ClusterState): ImageRecord[] {
  return sortedRecords(state, "images").filter(({ builtin }) => !builtin);
}

function holdsAll({ blobs }: ImageRecord, heldDigests: ReadonlySet<string>): boolean {
  return blobs.every(({ digest }) => heldDigests.has(digest));
}

/** FNV-1a: spreads images over nodes. */
function turnOf(name: string, nodeId: number): number {
  let hash = 0x811c_9dc5;
  for (const letter of `${name}/${nodeId}`) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x0100_0193) >>> 0;
  return hash;
}
