/**
 * How the key of a node is replaced in its data directory, so that a crash at any point leaves a directory that starts:
 *
 *     node.key old                          node.json: old
 *     node.key old, node.key.next           node.json: old, next     from `next` on; both keys are good for this directory
 *     node.key next                         node.json: old, next     from the rename on
 *     node.key next                         node.json: next          the next start writes it
 *
 * The cluster takes both keys until the node has started with the next one: whichever is found is let in.
 */
import { join } from "node:path";
import type { KeyRotation } from "@blixard/cluster";
import { notApplied } from "@blixard/common";
import { renameDurable } from "@blixard/common/system";
import { createSignatures, loadOrCreateNodeKey, type NodeKey } from "@blixard/identity";
import { type DataDir, readNodeFile, writeNodeFile } from "./data-dir.ts";

/** `onReplaced` is called when the file holds the next key: this process has the one of before, and is to be started again. */
export function nodeKeyRotation(dataDir: DataDir, onReplaced: () => void): KeyRotation {
  const path = join(dataDir.path, "node.key");
  const next = async (): Promise<NodeKey> => {
    const key = await loadOrCreateNodeKey(`${path}.next`);
    const nodeFile = await readNodeFile(dataDir.path);
    if (nodeFile !== undefined && nodeFile.nextEndpointId !== key.endpointId) {
      await writeNodeFile(dataDir, { ...nodeFile, nextEndpointId: key.endpointId });
    }
    return key;
  };
  return {
    next: async () => {
      const { seed, endpointId } = await next();
      return { endpointId, sign: createSignatures(seed).sign };
    },
    use: async (endpointId) => {
      const key = await next();
      if (key.endpointId !== endpointId) {
        throw notApplied("CONFLICT", `${path}.next holds another key than the one that the cluster expects`, {
          hint: "Rotate the key once more: blixard cluster rotate-key ID",
        });
      }
      await renameDurable(`${path}.next`, path);
      onReplaced();
    },
  };
}

/** Ends a rotation in `node.json`, after a start with the next key. */
export async function settleNodeFile(dataDir: DataDir, endpointId: string): Promise<void> {
  const { nodeFile } = dataDir;
  if (nodeFile === undefined || nodeFile.endpointId === endpointId) return;
  const { nextEndpointId: _, ...kept } = nodeFile;
  await writeNodeFile(dataDir, { ...kept, endpointId });
}
