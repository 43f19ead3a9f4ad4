/** Between the transport, which is open first, and the cluster node, which registers itself when it knows what to answer. */
import type { ClusterTransport, ServedNode } from "@blixard/cluster";
import { notApplied } from "@blixard/common";

const starting = () => Promise.reject(notApplied("UNAVAILABLE", "the node is starting", { hint: "Try again soon." }));

export class ServedNodeHolder {
  /** Who answers now. */
  node: ServedNode = { call: starting, stream: starting, isClientKey: () => false, start: () => undefined };

  /** The same transport, on which a cluster node can register itself. */
  serveOver(transport: Omit<ClusterTransport, "serve">): ClusterTransport {
    return {
      ...transport,
      serve: (node) => {
        this.node = node;
      },
    };
  }
}
