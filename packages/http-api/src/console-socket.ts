/**
 * The console of a VM as a websocket at `/v1/vms/{name}/console`: binary frames of serial output out, binary frames of
 * input in. `?offset=` is where the output starts; negative counts from its end.
 */
import { assertAtMost, BlixardError, PieceQueue } from "@blixard/common";
import { nodeRoutes } from "@blixard/protocol";
import { httpLimits } from "./http-types.ts";
import type { SocketKind } from "./socket-kind.ts";
import { bytesOf, pathPattern, send } from "./socket-messages.ts";

const inputPendingMax = 256;
const inputPieceBytesMax = 16 * 1024;
const backlogBytesDefault = 4 * 1024;
const { consolePendingBytesMax } = httpLimits;
assertAtMost({ inputPieceBytesMax, backlogBytesDefault }, { consolePendingBytesMax }, "what is pending holds a piece");

/** Two independent halves: output is asked for as it can be sent, so a slow viewer slows only itself; input is in order. */
export const consoleSocket: SocketKind = {
  stream: "vm.console",
  path: pathPattern(nodeRoutes.console.path),
  subprotocol: "blixard.console",
  sessionsMax: httpLimits.consoleSessionsMax,
  gauge: "consoles",
  async open([name = ""], query, stream) {
    const input = new PieceQueue(inputPieceBytesMax);
    const output = await stream("vm.console", { name, offset: offsetOf(query) }, input.pieces());
    return {
      end: () => input.end(),
      async run(webSocket) {
        webSocket.on("message", (data) => {
          if (input.length >= inputPendingMax) webSocket.close(1011, overloaded);
          else input.push(bytesOf(data));
        });
        for await (const { data } of output) {
          if (webSocket.readyState !== webSocket.OPEN) return;
          if (data.length > 0) await send(webSocket, data);
        }
      },
    };
  },
};

const overloaded = "OVERLOADED: input comes faster than the VM takes it";

function offsetOf(query: URLSearchParams): number {
  const text = query.get("offset") ?? String(-backlogBytesDefault);
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  throw new BlixardError("INVALID_ARGUMENT", `"${text}" is no byte offset`);
}
