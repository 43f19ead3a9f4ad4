/**
 * The HTTP API of a node with `--http off`: only whoever runs on its machine may use it, over TLS on the bind port, so
 * that the first ticket can be made there. Others learn who the node is and whether it lives; they call it over the RPC
 * lane, with a key that a ticket let in.
 */
import { methods, nodeRoutes } from "@blixard/protocol";
import type { ListenerHandlers } from "./listeners.ts";
import { isThisMachine } from "./loopback.ts";

const openPaths: ReadonlySet<string> = new Set([
  nodeRoutes.health.path,
  nodeRoutes.readiness.path,
  ...methods["identity.get"].http.map(({ path }) => path),
]);
const refusal = JSON.stringify({
  error: {
    code: "PERMISSION_DENIED",
    message: "this node serves no HTTP API to other machines",
    hint: "Call it with a context: blixard ticket create --role operator, and blixard context add NAME TICKET.",
    outcome: "not_applied",
  },
});

export function onlyForThisMachine({ onRequest, onUpgrade, places }: ListenerHandlers): ListenerHandlers {
  return {
    places,
    onRequest: (incoming, outgoing) => {
      if (mayUse(incoming.socket.remoteAddress, incoming.url)) {
        onRequest(incoming, outgoing);
        return;
      }
      outgoing.writeHead(403, { "content-type": "application/json", connection: "close" });
      outgoing.end(refusal);
    },
    onUpgrade: (incoming, socket, head) => {
      if (mayUse(incoming.socket.remoteAddress, undefined)) onUpgrade(incoming, socket, head);
      else socket.destroy();
    },
  };
}

/** Whether a request from `remoteAddress` is answered. */
export function mayUse(remoteAddress: string | undefined, url: string | undefined): boolean {
  return isThisMachine(remoteAddress) || openPaths.has((url ?? "").replace(/\?.*$/s, ""));
}
