/** The certificates that nodes show on the TLS side of their bind ports. Each node has its own; none is replicated. */
import type { CertificateView } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import type { ServiceContext } from "./service-context.ts";

/** The port to the certificates of this node. */
export interface NodeCertificates {
  list(): readonly Omit<CertificateView, "nodeId">[];
  /** New ones for new connections. @throws INVALID_ARGUMENT when an operator's files do not fit: nothing changes then */
  rotate(): void;
}

export function certificateHandlers(context: ServiceContext): Pick<Handlers, "cert.list" | "cert.rotate"> {
  const own = (): CertificateView[] =>
    (context.certificates?.list() ?? []).map((view) => ({ nodeId: context.options.nodeId, ...view }));
  const withOthers = async (name: "cert.list" | "cert.rotate", call: CallScope) => {
    const others = await context.peerCalls.askMembers(name, { scope: "node" }, call);
    return [...own(), ...[...others.values()].flatMap(({ items }) => items)].sort((a, b) => a.nodeId - b.nodeId);
  };
  return {
    "cert.list": async ({ scope }, call) => ({
      items: scope === "node" ? own() : await withOthers("cert.list", call),
    }),
    "cert.rotate": async ({ scope }, call) => {
      context.certificates?.rotate();
      return { items: scope === "node" ? own() : await withOthers("cert.rotate", call) };
    },
  };
}
