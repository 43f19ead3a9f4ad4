/** The certificates that nodes show on the TLS side of their bind ports. Each node has its own; none is replicated. */
import type { CertificateView } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { nodeKey } from "../state-machine/state.ts";
import { pageOf } from "./page.ts";

/** What these methods use of the node. */
type CertificateParts = Pick<NodeParts, "certificates" | "options" | "peerCalls">;

export function certificateHandlers(parts: CertificateParts): Pick<Handlers, "cert.list" | "cert.rotate"> {
  const own = (): CertificateView[] =>
    parts.certificates.list().map((view) => ({ nodeId: parts.options.nodeId, ...view }));
  const withOthers = async (name: "cert.list" | "cert.rotate", call: CallScope) => {
    const others = await parts.peerCalls.askMembers(name, { scope: "node" }, call);
    return [...own(), ...[...others.values()].flatMap(({ items }) => items)].sort((a, b) => a.nodeId - b.nodeId);
  };
  return {
    "cert.list": async ({ scope, ...asked }, call) =>
      pageOf(scope === "node" ? own() : await withOthers("cert.list", call), asked, {
        keyOf: ({ nodeId, fingerprint }) => `${nodeKey(nodeId)}/${fingerprint}`,
      }),
    "cert.rotate": async ({ scope }, call) => {
      parts.certificates.rotate();
      return { items: scope === "node" ? own() : await withOthers("cert.rotate", call) };
    },
  };
}
