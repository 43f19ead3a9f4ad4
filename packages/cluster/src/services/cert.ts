/** The certificates that nodes show on the TLS side of their bind ports. Each node has its own; none is replicated. */
import type { CertificateView } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { nodeKey } from "../state-machine/state.ts";
import { pageOf } from "./page.ts";

/** What these methods use of the node. */
type CertificateParts = Pick<NodeParts, "certificates" | "options" | "peerCalls">;

export function certificateHandlers(parts: CertificateParts): Pick<Handlers, "cert.list" | "cert.rotate"> {
  const own = (): CertificateView[] =>
    parts.certificates.list().map((view) => ({ nodeId: parts.options.nodeId, ...view }));
  /** Each node speaks for its own certificates only, whatever it answers. */
  const withOwn = (others: ReadonlyMap<number, { readonly items: readonly CertificateView[] }>) =>
    [...own(), ...[...others].flatMap(([nodeId, { items }]) => items.filter((view) => view.nodeId === nodeId))].sort(
      (a, b) => a.nodeId - b.nodeId,
    );
  const ofNode = { scope: "node" } as const;
  return {
    "cert.list": async ({ scope, ...asked }, call) =>
      pageOf(scope === "node" ? own() : withOwn(await parts.peerCalls.askMembers("cert.list", ofNode, call)), asked, {
        keyOf: ({ nodeId, fingerprint }) => `${nodeKey(nodeId)}/${fingerprint}`,
      }),
    "cert.rotate": async ({ scope }, call) => {
      parts.certificates.rotate();
      return {
        items: scope === "node" ? own() : withOwn(await parts.peerCalls.forwardToMembers("cert.rotate", ofNode, call)),
      };
    },
  };
}
