import type { ResponseOf } from "@blixard/protocol";

/** What `image gc` let go, or would let go, as lines. */
export function collectedText({ images, nodes }: ResponseOf<"image.collect">, dryRun: boolean): string {
  const verb = dryRun ? "would be" : "is";
  const lines = images.map((name) => `image ${name} ${verb} forgotten`);
  for (const { nodeId, blobs, message } of nodes) {
    if (message !== "") lines.push(`node ${nodeId} could not be asked: ${message}`);
    for (const { digest, sizeBytes } of blobs) {
      lines.push(`node ${nodeId}: blob ${digest}, ${(sizeBytes / 1024 ** 2).toFixed(1)} MiB, ${verb} let go`);
    }
  }
  return `${lines.length === 0 ? "nothing to let go" : lines.join("\n")}\n`;
}
